"""The command `restore-command`."""

from dataclasses import replace
from typing import Annotated

import typer
from backupexport_contract import names

from backupexport_cli.commands.options import JobId, full_job_id, session_of

_Decrypted = Annotated[
    bool, typer.Option("--decrypted", help="For the file that download --identity has left.")
]


def restore_command(context: typer.Context, job_id: JobId, decrypted: _Decrypted = False) -> None:
    """Print the command that restores a job's file.

    What else there is to know goes to stderr.
    """
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
    if decrypted:
        file = replace(file, path=file.path.removesuffix(names.ENCRYPTED))
    command = restore_commands.restore_command(file)
    check = restore_commands.check_command(job["artifact"]["path"], job["artifact"]["sha256"])
    notes = job_text.restore_notes(job, decrypted=decrypted)
    if output.is_json:
        output.document({"check_command": check, "restore_command": command, "notes": notes})
        return
    output.print(command)
    if not decrypted:
        output.say(f"Check the file first: backupexport download does, or: {check}")
    output.say("Put your database in the place of DATABASE, and run it with bash beside the file.")
    for note in notes:
        output.warn(note)
