"""The command `job`."""

import typer

from backupexport_cli.commands.options import JobId, full_job_id, session_of


def job(context: typer.Context, job_id: JobId) -> None:
    """Show a job."""
    session = session_of(context)
    exports = session.exports()
    found = exports.job(full_job_id(exports, job_id))
    session.output.document(found)
