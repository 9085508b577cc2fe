"""The token that goes with a command's requests, and a newer one where the server refuses it."""

import re
from collections.abc import Callable

from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.login.contexts import Context
from backupexport_cli.login.issuer import IssuerClient, IssuerUnreachableError
from backupexport_cli.login.keyrings import Keyring
from backupexport_cli.login.revocation import revoke
from backupexport_cli.login.token_store import TokenStore
from backupexport_cli.login.tokens import LONGEST_TOKEN, Tokens

_MOMENT_SECONDS = 1.0

# RFC 6750, 2.1: what may stand in the header.
_BEARER = re.compile(r"[A-Za-z0-9._~+/-]+=*")

_LOGIN = "Log in with `backupexport login`."


class AccessToken:
    """The token of a context.

    Whether it has expired, the server alone says, by a 401: this machine's clock may be minutes
    off, and a token that it takes for expired may be good, or the other way round.  So it is sent
    as it is, and renewed when it was refused.
    """

    def __init__(
        self,
        context: Context,
        store: TokenStore | None = None,
        *,
        is_hurried: bool = False,
        trace: Callable[[str], None] = lambda _text: None,
    ) -> None:
        """With `is_hurried` it is told in a moment or not at all, and never renewed.

        `trace` tells of requests to the issuer.
        """
        self._context = context
        if store is None:
            store = TokenStore(keyring=_hurried_keyring) if is_hurried else TokenStore()
        self._store = store
        self._is_hurried = is_hurried
        self._trace = trace
        self._tokens: Tokens | None = None

    def __repr__(self) -> str:
        return f"AccessToken({self._context.name!r})"

    def value(self) -> str:
        """Return what the server gets; raises CliError where there is none."""
        if self._tokens is None:
            self._tokens = self._kept()
        return self._tokens.value

    def refresh(self) -> bool:
        """Return whether `value` is another one than before; raises CliError.

        Of several processes with one refused token the first asks the issuer: many issuers take a
        refresh token once, and end the whole login when it comes again (RFC 9700, 4.14.2).
        """
        refused = self.value()
        if self._is_hurried:
            # Who stops it would lose the login between the issuer's answer and the file.
            return False
        with self._store.turn():
            self._tokens = self._kept()
            if self._tokens.value != refused:
                return True
            renewed = _renewed(self._tokens, self._trace)
            if renewed is None:
                return self._no_other()
            # At once, whatever came with it: the issuer may have forgotten the refresh token from
            # before already.
            if not self._store.renew(self._context.name, self._tokens, renewed):
                # Somebody has removed the login, or made another, without waiting for the turn.
                revoke(renewed, self._trace)
                self._tokens = self._kept()
                return self._tokens.value != refused
            self._tokens = renewed
        if renewed.value == refused:
            raise CliError(
                ExitCode.NOT_ALLOWED,
                "The token was refused, and its issuer gave no other that the server could take.",
                f"Log in again with `{self._context.login_command}`.",
            )
        return True

    def _no_other(self) -> bool:
        """Return that there is no other token; raises CliError where it is known what makes one.

        Nothing renews what was made by way of Kubernetes, and the server can't know the command.
        """
        if self._context.kube_service is None:
            return False
        raise CliError(
            ExitCode.NOT_ALLOWED,
            f"The server does not take the token of {self._context.name} any more.",
            f"Make a new one: {self._context.login_command}",
            code="token_invalid",
        )

    def _kept(self) -> Tokens:
        tokens = self._store.get(self._context.name)
        if tokens is None or tokens.server != self._context.place:
            raise CliError(
                ExitCode.NOT_ALLOWED,
                f"There is no token for {self._context.place}.",
                f"Log in with `{self._context.login_command}`.",
            )
        return tokens


def _hurried_keyring() -> Keyring | None:
    return Keyring.of_system(_MOMENT_SECONDS)


def valid_token(token: str) -> str:
    """Return the token without the space around it; raises CliError where it can be none."""
    token = token.strip()
    if not token:
        raise CliError(ExitCode.USAGE, "The token is empty.", _LOGIN)
    if token.lower().startswith("bearer "):
        token = token[len("bearer ") :].strip()
    if not _BEARER.fullmatch(token):
        raise CliError(
            ExitCode.USAGE,
            "The token holds characters that no token has.",
            "Give the token alone, without quotes and without the header's name.",
        )
    if len(token) > LONGEST_TOKEN:
        raise CliError(
            ExitCode.USAGE,
            f"The token is longer than the {LONGEST_TOKEN} characters that servers read.",
            "Give the token alone.",
        )
    return token


def _renewed(tokens: Tokens, trace: Callable[[str], None]) -> Tokens | None:
    """Return new tokens; None where there are none to be had; raises CliError."""
    if tokens.refresh_token is None or tokens.origin is None:
        return None
    form = {
        "grant_type": "refresh_token",
        "refresh_token": tokens.refresh_token,
        "client_id": tokens.origin.client_id,
    }
    try:
        with IssuerClient(trace) as client:
            answer = client.post(tokens.origin.token_endpoint, form)
    except IssuerUnreachableError as error:
        raise _unreachable(str(error)) from None
    if answer.is_busy:
        raise _unreachable(f"it answered {answer.status}")
    if answer.status == 200:
        return tokens.renewed_by(answer)
    return None


def _unreachable(why: str) -> CliError:
    return CliError(
        ExitCode.UNREACHABLE,
        f"The token was refused, and its issuer can't be asked for a new one: {why}.",
        "Try again in a moment, or log in again with `backupexport login`.",
    )
