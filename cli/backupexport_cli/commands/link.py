"""The command `link`."""

from typing import Annotated

import typer

from backupexport_cli.commands.durations import seconds_of
from backupexport_cli.commands.options import JobId, full_job_id, session_of

_Lifetime = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="How long it is good, such as 30min or 12h."),
]


def link(context: typer.Context, job_id: JobId, lifetime: _Lifetime = None) -> None:
    """Make a link to a job's file, which needs no token."""
    seconds = None if lifetime is None else seconds_of(lifetime)
    session = session_of(context)
    rest, output = session.rest(), session.output
    made = rest.link(full_job_id(rest, job_id), seconds)
    if output.is_json:
        output.document(made)
    else:
        output.print(made["url"])
    output.say(
        f"The link is good until {made['expires_at']}. "
        "Give it only to whoever may have the whole file."
    )
