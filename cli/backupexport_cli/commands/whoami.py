"""The command `whoami`."""

import typer

from backupexport_cli.commands.options import session_of
from backupexport_cli.errors import CliError, ExitCode


def whoami(context: typer.Context) -> None:
    """Show your token, and whether the server takes it."""
    from backupexport_contract import timestamps

    from backupexport_cli.login import summary
    from backupexport_cli.service.interface import JobFilter

    session = session_of(context)
    if session.kube:
        raise CliError(
            ExitCode.USAGE,
            "With --kube no server is asked, so there is no token to tell of.",
            "Leave out --kube; `backupexport contexts` lists the logins, --context names one.",
        )
    chosen = session.chosen()
    if chosen.bearer is None:
        raise CliError(
            ExitCode.NOT_ALLOWED,
            f"There is no token for {chosen.context.place}.",
            "Log in with `backupexport login`.",
        )
    # The only proof, since a token's own words are signed for the server and not for us; it may
    # also bring a newer token.
    session.rest().jobs(JobFilter(), 1)
    token = chosen.bearer.value()
    if session.output.is_json:
        session.output.document(summary.document(chosen.context, token) | {"accepted": True})
        return
    session.output.print("\n".join(summary.lines(chosen.context, token, timestamps.now())))
    origin = "It comes from BACKUPEXPORT_TOKEN. " if chosen.token_is_given else ""
    session.output.say(
        f"{origin}The server has just taken this token; the rest is what the token says itself,"
        " whose signature was not checked here."
    )
