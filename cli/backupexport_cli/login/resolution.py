"""Which server a command asks, and with which token: the environment, or a context."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.login import contexts
from backupexport_cli.login.access import AccessToken, valid_token
from backupexport_cli.login.contexts import Context, Contexts
from backupexport_cli.service.http import Bearer, GivenToken

URL_VARIABLE = "BACKUPEXPORT_URL"
TOKEN_VARIABLE = "BACKUPEXPORT_TOKEN"


@dataclass(frozen=True, slots=True)
class Chosen:
    """A server, and what speaks for the user there."""

    context: Context
    """Its name is empty where it is in no list."""
    bearer: Bearer | None
    """None where there is no token."""
    token_is_given: bool = False
    """Whether the token comes from the environment."""


def chosen(
    url: str | None,
    name: str | None,
    environment: Mapping[str, str],
    *,
    is_hurried: bool = False,
    trace: Callable[[str], None] = lambda _text: None,
) -> Chosen:
    """Return the server; raises CliError where none is known.

    `url` is the address that an option or the environment gives, as it is used; `name` is that of
    a context.  An address wins over a context, and a token from the environment over a kept one.
    No context's token ever goes to another address than its own.  `trace` tells of requests for a
    newer one.
    """
    bearer_of = partial(AccessToken, is_hurried=is_hurried, trace=trace)
    given = environment.get(TOKEN_VARIABLE)
    if url is not None and given:
        return Chosen(Context("", url), GivenToken(valid_token(given)), token_is_given=True)
    kept = contexts.load()
    if url is not None:
        found = having_url(kept, url, name)
        return Chosen(found or Context("", url), bearer_of(found) if found else None)
    context = kept.find(name)
    if context is None:
        raise _none_chosen(kept)
    if given:
        return Chosen(context, GivenToken(valid_token(given)), token_is_given=True)
    return Chosen(context, bearer_of(context))


def _none_chosen(kept: Contexts) -> CliError:
    if not kept.by_name:
        return CliError(
            ExitCode.NOT_ALLOWED,
            "No server is known.",
            "Log in to one: backupexport login URL, or backupexport --kube -n NAMESPACE login",
        )
    first = min(kept.by_name)
    return CliError(
        ExitCode.NOT_ALLOWED,
        "None of the servers you know is chosen.",
        f"Choose one: backupexport contexts use {first}",
    )


def having_url(kept: Contexts, url: str, name: str | None) -> Context | None:
    """Return the context of an address: the named or the current one, where it has that address."""
    preferred = kept.by_name.get(name or kept.current or "")
    candidates = [preferred] if preferred else []
    candidates += [] if name else list(kept.by_name.values())
    return next((context for context in candidates if context.url == url), None)
