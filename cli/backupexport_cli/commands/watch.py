"""The command `watch`."""

import typer

from backupexport_cli.commands.options import JobId, full_job_id, session_of


def watch(context: typer.Context, job_id: JobId) -> None:
    """Follow a job until it has ended."""
    session = session_of(context)
    exports = session.exports()
    for state in exports.states(full_job_id(exports, job_id)):
        session.output.event(state)
