"""The command `watch`."""

import typer

from backupexport_cli.commands.options import JobId, full_job_id, session_of


def watch(context: typer.Context, job_id: JobId) -> None:
    """Follow a job until it has ended.

    The exit code is 1 where it ends without a file.
    """
    from backupexport_cli.commands.following import follow
    from backupexport_cli.output import job_text

    session = session_of(context)
    exports = session.exports()
    job = follow(session, exports, full_job_id(exports, job_id), tell=session.output.print)
    for step in job_text.next_steps(job, session.command()):
        session.output.say(step)
