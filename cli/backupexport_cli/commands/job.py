"""The command `job`."""

import typer

from backupexport_cli.commands.options import JobId, full_job_id, session_of


def job(context: typer.Context, job_id: JobId) -> None:
    """Show a job."""
    from backupexport_cli.output import job_text

    session = session_of(context)
    exports, output = session.exports(), session.output
    found = exports.job(full_job_id(exports, job_id))
    if output.is_json:
        output.document(found)
        return
    for line in job_text.job_details(found, output.width):
        output.print_line(*line)
    for step in job_text.next_steps(found, session.command()):
        output.say(step)
