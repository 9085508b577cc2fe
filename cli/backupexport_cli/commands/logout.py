"""The command `logout`."""

from typing import Annotated

import typer

from backupexport_cli.commands.options import session_of
from backupexport_cli.session import Session


def logout(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A context; else the current one.")
    ] = None,
    everywhere: Annotated[
        bool, typer.Option("--all", help="Forget the tokens of all contexts.")
    ] = False,
) -> None:
    """Forget a server's token.

    Where the issuer can do that, the login ends there, too.
    """
    from backupexport_cli.login import contexts, resolution

    session = session_of(context)
    kept = contexts.load()
    if everywhere:
        names = sorted(kept.by_name)
    else:
        found = kept.find(name or session.options.context)
        names = [] if found is None else [found.name]
    results = [_forget(session, each) for each in names]
    output = session.output
    if output.is_json:
        output.document(
            [
                {"context": each, "removed": removed}
                for each, removed in zip(names, results, strict=True)
            ]
        )
    elif not names:
        output.say("There is no context, so there was nothing to forget.")
    if session.options.environment.get(resolution.TOKEN_VARIABLE):
        output.warn("BACKUPEXPORT_TOKEN is set and still good; unset it, too.")


def _forget(session: Session, name: str) -> bool:
    from backupexport_cli.login.revocation import revoke
    from backupexport_cli.login.token_store import TokenStore

    removed = TokenStore().take(name)
    if removed.trouble:
        # A keyring that is locked: what is in it can't be given back, and is no longer used.
        session.output.warn(removed.trouble)
    if removed.tokens is None:
        session.output.say(f"There was no token of {name} that could be read.")
        return removed.is_gone
    said = (
        "was removed"
        if removed.is_gone
        else "could not be removed from the keyring, but is forgotten"
    )
    session.output.say(f"The token of {name} {said}. {revoke(removed.tokens, session.trace)}")
    return removed.is_gone
