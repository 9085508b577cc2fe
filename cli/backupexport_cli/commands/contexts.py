"""The command `contexts`."""

from typing import Annotated

import typer

from backupexport_cli.commands.options import session_of
from backupexport_cli.errors import CliError, ExitCode

_ACTIONS = ("use", "remove")


def contexts(
    context: typer.Context,
    action: Annotated[
        str | None, typer.Argument(metavar="use|remove", help="Without it, all are listed.")
    ] = None,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="The context to use or to remove.")
    ] = None,
) -> None:
    """List the servers you know, choose or remove one."""
    from backupexport_cli.login import contexts as kept_contexts
    from backupexport_cli.login.revocation import revoke
    from backupexport_cli.login.token_store import TokenStore

    session = session_of(context)
    output = session.output
    if action is not None:
        if action not in _ACTIONS or name is None:
            raise CliError(
                ExitCode.USAGE,
                "This command lists contexts, uses one, or removes one.",
                "Write `backupexport contexts`, or `contexts use NAME`, or `contexts remove NAME`.",
            )
        if action == "use":
            kept_contexts.change(lambda kept: kept.using(name))
            output.say(f"{name} is the current context now.")
        else:
            kept_contexts.change(lambda kept: kept.without(name))
            tokens = TokenStore().take(name).tokens
            told = "" if tokens is None else f" {revoke(tokens, session.trace)}"
            output.say(f"{name} and its token were removed here.{told}")
        if output.is_json:
            output.document({"context": name, "done": action})
        return
    kept = kept_contexts.load()
    ordered = [kept.by_name[each] for each in sorted(kept.by_name)]
    if output.is_json:
        output.document(
            [
                {"context": each.name, "server": each.place, "current": each.name == kept.current}
                for each in ordered
            ]
        )
        return
    width = max((len(each.name) for each in ordered), default=0)
    for each in ordered:
        mark = "*" if each.name == kept.current else " "
        output.print(f"{mark} {each.name:<{width}}  {each.place}")
    if not ordered:
        output.say("There are no contexts yet. Make one with `backupexport login URL`.")
