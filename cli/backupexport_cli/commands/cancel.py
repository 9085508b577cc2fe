"""The command `cancel`."""

import typer

from backupexport_cli.commands.options import JobId, full_job_id, session_of


def cancel(context: typer.Context, job_id: JobId) -> None:
    """Stop a job, and remove its partial file."""
    session = session_of(context)
    exports = session.exports()
    job_id = full_job_id(exports, job_id)
    was_cancelled = exports.job(job_id)["status"] == "cancelled"
    # The server's word counts: what it has seen may be newer.
    exports.cancel(job_id)
    if session.output.is_json:
        session.output.document({"job_id": job_id, "cancelled": True})
    if was_cancelled:
        session.output.say(f"Job {job_id} was cancelled already.")
        return
    again = session.command("job", job_id)
    session.output.say(f"Job {job_id} is being stopped. See how it ends: {again}")
