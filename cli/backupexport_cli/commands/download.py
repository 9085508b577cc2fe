"""The command `download`."""

from pathlib import Path
from typing import Annotated

import typer

from backupexport_cli.commands.options import JobId, full_job_id, session_of
from backupexport_cli.errors import CliError, ExitCode

_STDOUT = "-"


def download(
    context: typer.Context,
    job_id: JobId,
    destination: Annotated[
        str | None,
        typer.Argument(
            metavar="[DIR|FILE|-]",
            help="Where the file goes: a directory, a name, or - for standard output.",
            show_default="the current directory",
        ),
    ] = None,
    identity: Annotated[
        list[Path] | None,
        typer.Option(
            "--identity",
            "-i",
            metavar="FILE",
            help="Decrypt it with this identity of age or private key of ssh; may be repeated.",
        ),
    ] = None,
    keep_encrypted: Annotated[
        bool, typer.Option("--keep-encrypted", help="With --identity: keep the encrypted file.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", "-f", help="Replace a file that has the name.")
    ] = False,
    connections: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=16,
            metavar="N",
            help="How many connections.",
            show_default="chosen as it goes",
        ),
    ] = None,
) -> None:
    """Fetch a job's file, check it, and decrypt it.

    A download that was stopped or cut goes on where it was when the command is repeated.
    """
    from backupexport_cli.files.download import download as fetch
    from backupexport_cli.files.download import download_to_stdout
    from backupexport_cli.files.wanted import named_place

    session = session_of(context)
    output, rest = session.output, session.rest()
    to_stdout = destination == _STDOUT
    if to_stdout and (force or keep_encrypted or connections or output.is_json):
        raise CliError(
            ExitCode.USAGE,
            "Standard output takes the file alone.",
            "Leave out --force, --keep-encrypted, --connections and --json.",
        )
    place = None if destination in (None, _STDOUT) else named_place(destination)
    job = rest.job(full_job_id(rest, job_id))
    identities = identity or []
    if to_stdout:
        download_to_stdout(rest, job, identities=identities, output=output)
        return
    path = fetch(
        rest,
        job,
        place,
        connections=connections,
        identities=identities,
        output=output,
        force=force,
        keep_encrypted=keep_encrypted,
    )
    if output.is_json:
        artifact = job["artifact"]
        output.document(
            {
                "job_id": job["job_id"],
                "path": str(path),
                "size_bytes": path.stat().st_size,
                "sha256": artifact["sha256"],
                "decrypted": bool(identities) and artifact["path"].endswith(".age"),
            }
        )
    else:
        output.print(str(path))
    decrypted = ["--decrypted"] if identities else []
    command = session_of(context).command("restore-command", *decrypted, job["job_id"])
    output.say(f"See how it is restored: {command}")
