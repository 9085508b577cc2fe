"""The tokens that an issuer has given: which of them the server gets, and what goes with it."""

from dataclasses import dataclass, replace
from typing import Any, Self

from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.login.claims import claims_of
from backupexport_cli.login.issuer import Answer, Endpoints

# The api reads no longer one.
LONGEST_TOKEN = 8192


@dataclass(frozen=True, slots=True)
class Origin:
    """Who has made a token, for whom, and where it is asked to renew it or to take it back."""

    client_id: str
    token_endpoint: str
    revocation_endpoint: str | None = None
    audience: str | None = None

    @classmethod
    def of(cls, client_id: str, endpoints: Endpoints, audience: str | None) -> Self:
        """Return the origin of what these endpoints give to that client."""
        return cls(client_id, endpoints.token, endpoints.revocation, audience)


@dataclass(frozen=True, slots=True)
class Tokens:
    """What is kept of a login; its text shows no token."""

    value: str
    """What the server gets."""
    server: str = ""
    """The place that it is for (Context.place): a context that leads elsewhere by now doesn't
    send it."""
    refresh_token: str | None = None
    origin: Origin | None = None

    def __repr__(self) -> str:
        return f"Tokens(server={self.server!r}, refreshable={self.refresh_token is not None})"

    def renewed_by(self, answer: Answer) -> "Tokens":
        """Return what is kept after a refresh, with the value from before where it brought none.

        OpenID Connect Core 1.0, 12.2: it may bring no ID token.
        """
        audience = self.origin.audience if self.origin else None
        try:
            value = bearer_of(answer, audience)
        except CliError:
            value = self.value
        # RFC 6749, 6: where a new one comes, the old one must be thrown away.
        return replace(
            self, value=value, refresh_token=_refresh_token_of(answer) or self.refresh_token
        )

    def to_document(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        document: dict[str, Any] = {"token": self.value, "server": self.server}
        if self.refresh_token is not None:
            document["refresh_token"] = self.refresh_token
        if self.origin is not None:
            document["origin"] = {
                "client_id": self.origin.client_id,
                "token_endpoint": self.origin.token_endpoint,
                "revocation_endpoint": self.origin.revocation_endpoint,
                "audience": self.origin.audience,
            }
        return document

    @classmethod
    def of_document(cls, document: Any) -> "Tokens | None":
        """Return what `to_document` made; None where it is something else."""
        if not isinstance(document, dict) or not isinstance(document.get("token"), str):
            return None
        origin = document.get("origin")
        refresh_token, server = document.get("refresh_token"), document.get("server")
        return cls(
            document["token"],
            server if isinstance(server, str) else "",
            refresh_token if isinstance(refresh_token, str) else None,
            _origin_of(origin) if isinstance(origin, dict) else None,
        )


def tokens_of(answer: Answer, server: str, origin: Origin) -> Tokens:
    """Return what a token endpoint has given; raises CliError where the server can't use it."""
    return Tokens(bearer_of(answer, origin.audience), server, _refresh_token_of(answer), origin)


def bearer_of(answer: Answer, audience: str | None) -> str:
    """Return the token that the server gets; raises CliError where there is none for it.

    It is the access token, which is what such a token is for.  But the server checks signatures
    and asks nobody, so it takes JWTs alone (RFC 9068), and many issuers' access tokens are opaque
    texts, or JWTs for their own APIs.  The ID token is always a signed JWT, with the client's id
    as its audience, which is what a server behind such an issuer is configured to accept
    (Kubernetes does so, too).  It has come straight from the token endpoint, so nobody here needs
    to check its signature (OpenID Connect Core 1.0, 3.1.3.7); the server does.
    """
    kind = answer.body.get("token_type")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise _unusable("The issuer gave a token that is no bearer token.")
    given = [answer.body.get(name) for name in ("access_token", "id_token")]
    if not isinstance(given[0], str) or not given[0]:
        raise _unusable("The issuer's answer holds no access token.")
    jwts = [(token, found) for token in given if isinstance(token, str)
            and (found := claims_of(token)) is not None]  # fmt: skip
    fitting = [token for token, found in jwts if audience is None or audience in found.audiences]
    # One for another audience will be refused by the server, with its reason.
    chosen = next(iter(fitting or [token for token, _ in jwts]), None)
    if chosen is None:
        raise _unusable(
            "The issuer's access token is no JWT, which the server needs, and no ID token came"
            " with it."
        )
    if len(chosen) > LONGEST_TOKEN:
        raise _unusable(f"The issuer's token is longer than the {LONGEST_TOKEN} characters that"
                        " the server reads.")  # fmt: skip
    return chosen


def _refresh_token_of(answer: Answer) -> str | None:
    found = answer.body.get("refresh_token")
    return found if isinstance(found, str) and found else None


def _unusable(message: str) -> CliError:
    return CliError(
        ExitCode.FAILED,
        message,
        "Ask whoever runs the server to check auth.login (its scopes need `openid`), or log in"
        " with a token: `backupexport login --token -`.",
    )


def _origin_of(document: dict[str, Any]) -> Origin | None:
    client_id, token_endpoint = document.get("client_id"), document.get("token_endpoint")
    if not isinstance(client_id, str) or not isinstance(token_endpoint, str):
        return None
    revocation, audience = document.get("revocation_endpoint"), document.get("audience")
    return Origin(
        client_id,
        token_endpoint,
        revocation if isinstance(revocation, str) else None,
        audience if isinstance(audience, str) else None,
    )
