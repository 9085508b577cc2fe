"""The command `jobs`."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backupexport_cli.commands.completion import project_ids
from backupexport_cli.commands.options import Status, session_of
from backupexport_cli.output.console import Output

if TYPE_CHECKING:
    from backupexport_cli.service.interface import Job

_POLL_SECONDS = 2.0
_LINES_ASIDE = 2

_Project = Annotated[
    str | None,
    typer.Option(metavar="PROJECT", help="Only of this project.", autocompletion=project_ids),
]
_OfStatus = Annotated[Status | None, typer.Option(help="Only with this status.")]
_Limit = Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")]
_Watch = Annotated[bool, typer.Option("--watch", "-w", help="Go on showing them as they change.")]


def jobs(
    context: typer.Context,
    project: _Project = None,
    status: _OfStatus = None,
    limit: _Limit = 50,
    watch: _Watch = False,
) -> None:
    """List jobs, the newest first."""
    from backupexport_cli.service.interface import JobFilter

    session = session_of(context)
    exports, output = session.exports(), session.output
    wanted = JobFilter(project, status and status.value)

    def listed() -> "list[Job]":
        return exports.jobs(wanted, limit)

    if watch:
        _watch(output, listed)
        return
    found = listed()
    if output.is_json:
        output.document({"jobs": found})
        return
    if not found:
        output.say(f"There is no such job. Ask for an export: {session.command('export')} PROJECT")
        return
    for line in _lines(output, found):
        output.print_line(*line)
    if len(found) == limit:
        output.say(f"These are the newest {limit}; there may be more: --limit {limit * 4}")
    output.say(f"See one: {session.command('job')} ID")


def _lines(output: Output, found: "Sequence[Job]") -> "list[list[tuple[str, str]]]":
    from datetime import UTC, datetime

    from backupexport_cli.output.job_text import jobs_table

    return jobs_table(found, output.width, datetime.now(UTC))


def _watch(output: Output, listed: "Callable[[], list[Job]]") -> None:
    """Show them until the user stops it: drawn anew on a terminal, else a line for each change."""
    import time

    from backupexport_cli.output.job_text import state_text

    known: dict[str, Any] = {}
    drawn = 0
    while True:
        found = listed()
        if output.stdout_is_terminal and not output.is_json:
            lines = _lines(output, found)[: max(2, output.height - _LINES_ASIDE)]
            output.redraw(lines, instead_of=drawn)
            drawn = len(lines)
        else:
            # The oldest first: the newest change is the last line.
            for job in reversed(found):
                shown = job if output.is_json else state_text(job)
                if known.get(job["job_id"]) != shown:
                    known[job["job_id"]] = shown
                    output.event(job) if output.is_json else output.print(str(shown))
        time.sleep(_POLL_SECONDS)
