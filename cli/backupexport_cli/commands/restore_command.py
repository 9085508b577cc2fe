"""The command `restore-command`."""

import typer

from backupexport_cli.commands.options import JobId, full_job_id, session_of


def restore_command(context: typer.Context, job_id: JobId) -> None:
    """Print the command that restores a job's file; what to know of it goes to stderr."""
    from backupexport_contract import restore_commands

    from backupexport_cli.errors import CliError, ExitCode
    from backupexport_cli.output import job_text

    session = session_of(context)
    exports, output = session.exports(), session.output
    job = exports.job(full_job_id(exports, job_id))
    if not job["artifact"]:
        raise CliError(
            ExitCode.FAILED,
            f"Job {job['job_id']} has no file: it is {job['status']}.",
            job_text.next_steps(job)[0],
        )
    # Made here of what the server tells, never taken from it: it is typed into a shell.
    file = job_text.dump_file(job)
    command = restore_commands.restore_command(file)
    check = restore_commands.check_command(file.path, job["artifact"]["sha256"])
    notes = job_text.restore_notes(job)
    if output.is_json:
        output.document({"check_command": check, "restore_command": command, "notes": notes})
        return
    output.print(command)
    output.say(f"Check the file first: backupexport download does, or: {check}")
    output.say("Put your database in the place of DATABASE, and run it with bash beside the file.")
    for note in notes:
        output.warn(note)
