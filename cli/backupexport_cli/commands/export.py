"""The command `export`."""

import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backupexport_cli.commands.options import ProjectId, session_of
from backupexport_cli.errors import CliError, ExitCode

if TYPE_CHECKING:
    from backupexport_cli.service.interface import Exports
    from backupexport_cli.session import Session


class Format(StrEnum):
    """What pg_dump writes."""

    SQL = "sql"
    TAR = "tar"
    CUSTOM = "custom"


class Content(StrEnum):
    """What of the database."""

    ALL = "all"
    SCHEMA = "schema"
    DATA = "data"


class Compression(StrEnum):
    """How the file is compressed."""

    ZSTD = "zstd"
    GZIP = "gzip"


_PATTERN = "PATTERN"
_Format = Annotated[
    Format | None, typer.Option(help="sql for psql (the default), tar or custom for pg_restore.")
]
_Content = Annotated[
    Content | None, typer.Option(help="schema leaves out the rows, data the definitions.")
]
_Schema = Annotated[
    list[str] | None,
    typer.Option(metavar=_PATTERN, help="Only these schemas, as pg_dump takes them; repeatable."),
]
_ExcludeSchema = Annotated[
    list[str] | None, typer.Option(metavar=_PATTERN, help="Not these schemas; repeatable.")
]
_Table = Annotated[
    list[str] | None, typer.Option(metavar=_PATTERN, help="Only these tables; repeatable.")
]
_ExcludeTable = Annotated[
    list[str] | None, typer.Option(metavar=_PATTERN, help="Not these tables; repeatable.")
]
_ExcludeTableData = Annotated[
    list[str] | None,
    typer.Option(metavar=_PATTERN, help="Not the rows of these tables; repeatable."),
]
_NoOwner = Annotated[bool, typer.Option("--no-owner", help="Restore without the owners.")]
_NoPrivileges = Annotated[bool, typer.Option("--no-privileges", help="Restore without grants.")]
_NoCompress = Annotated[bool, typer.Option("--no-compress", help="Don't compress the file.")]
_Compression = Annotated[
    Compression | None, typer.Option(help="How the file is compressed; zstd unless given.")
]
_EncryptTo = Annotated[
    list[str] | None,
    typer.Option(
        metavar="RECIPIENT",
        help="Encrypt it to this one of age (age1…), to a public key of ssh, or to those of a"
        " file, as @~/.ssh/id_ed25519.pub; repeatable.",
    ),
]
_StoragePath = Annotated[
    str | None,
    typer.Option(metavar="DIRECTORY", help="Where the file is placed, below the project's own."),
]
_Email = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="Who gets a mail when the export ends.")
]
_IdempotencyKey = Annotated[
    str | None,
    typer.Option(metavar="KEY", help="The same key again is the same export, not a second one."),
]
_Wait = Annotated[
    bool, typer.Option("--wait", help="Follow it to its end; exit code 1 where it fails.")
]
_Download = Annotated[
    str | None,
    typer.Option(
        metavar="[DIR|FILE|-]",
        help="Wait, then fetch and check the file, into this directory unless another place is"
        " named; - is stdout.",
    ),
]
_Identity = Annotated[
    list[Path] | None,
    typer.Option(
        "--identity",
        "-i",
        metavar="FILE",
        help="With --download: decrypt with this identity of age or private key of ssh;"
        " repeatable.",
    ),
]


def export(
    context: typer.Context,
    project: ProjectId,
    format: _Format = None,  # noqa: A002 - the option's name
    content: _Content = None,
    schema: _Schema = None,
    exclude_schema: _ExcludeSchema = None,
    table: _Table = None,
    exclude_table: _ExcludeTable = None,
    exclude_table_data: _ExcludeTableData = None,
    no_owner: _NoOwner = False,
    no_privileges: _NoPrivileges = False,
    no_compress: _NoCompress = False,
    compression: _Compression = None,
    encrypt_to: _EncryptTo = None,
    storage_path: _StoragePath = None,
    email: _Email = None,
    idempotency_key: _IdempotencyKey = None,
    wait: _Wait = False,
    download: _Download = None,
    identity: _Identity = None,
) -> None:
    """Export a project; --download brings the file home."""
    from backupexport_cli.commands.export_request import export_request, recipients

    request = export_request(
        {
            "project_id": project,
            "format": format and format.value,
            "content": content and content.value,
            "include_schemas": schema,
            "exclude_schemas": exclude_schema,
            "include_tables": table,
            "exclude_tables": exclude_table,
            "exclude_table_data": exclude_table_data,
            "owner": False if no_owner else None,
            "privileges": False if no_privileges else None,
            "compress": False if no_compress else None,
            "compression": compression and compression.value,
            "encrypt_to": recipients(encrypt_to or []),
            "storage_path": storage_path,
            "notify_email": email,
        }
    )
    session = session_of(context)
    if identity and download is None:
        raise CliError(
            ExitCode.USAGE,
            "--identity decrypts what is downloaded, and nothing is.",
            "Add --download, or leave it out.",
        )
    if idempotency_key is not None and not re.fullmatch("[!-~]{1,255}", idempotency_key):
        raise CliError(
            ExitCode.USAGE,
            "--idempotency-key must be 1 to 255 visible ASCII characters.",
            "Leave it out: each export then has its own.",
        )
    if download == "-" and session.output.is_json:
        raise CliError(
            ExitCode.USAGE,
            "Standard output takes the file or JSON, not both.",
            "Leave out --json, or name a directory after --download.",
        )
    if download is not None:
        _check_destination(session, download, identity or [])
    job_id = _created(session, session.exports(), request, idempotency_key)
    if download is not None:
        _fetch(context, job_id, download, identity or [])
    elif wait:
        _wait(session, job_id)
    else:
        _tell(session, job_id)


def _check_destination(session: "Session", destination: str, identities: list[Path]) -> None:
    """Raise CliError where it is known before there is an export that its file has no way here."""
    import os
    import sys

    from backupexport_cli.files.identities import read_identities
    from backupexport_cli.files.partial_file import in_the_way
    from backupexport_cli.files.wanted import named_place, placed

    read_identities(identities)
    if destination != "-":
        place = named_place(destination)
        if placed(place, "file") == place and os.path.lexists(place):
            # The file of an export that isn't made yet is another one.
            raise in_the_way(place, may_be_forced=False)
    elif sys.stdout.isatty():
        raise CliError(
            ExitCode.USAGE,
            "The file is not for a terminal.",
            "Send it to a program or a file, or name a directory after --download.",
        )
    session.check_access()


def _created(
    session: "Session", exports: "Exports", request: dict[str, object], key: str | None
) -> str:
    import uuid

    key = key or str(uuid.uuid4())
    try:
        return exports.create(request, key)
    except KeyboardInterrupt:
        session.output.say(
            f"Whether the export was asked for is not known. See: {session.command('jobs')}, or"
            f" repeat the command with --idempotency-key {key}",
            always=True,
        )
        raise
    except CliError as error:
        if not _may_be_made(error):
            raise
        raise CliError(
            error.exit_code,
            error.message,
            f"{error.advice} With --idempotency-key {key} it is no second export.".strip(),
            code=error.code,
        ) from None


def _may_be_made(error: CliError) -> bool:
    """Return whether there may be an export all the same: nobody has refused it."""
    # A server's refusal has a code, Kubernetes' a reason, which is one.
    has_failed = error.exit_code is ExitCode.FAILED and not error.code
    return has_failed or error.exit_code is ExitCode.UNREACHABLE


def _tell(session: "Session", job_id: str) -> None:
    output = session.output
    if output.is_json:
        output.document({"job_id": job_id})
    else:
        output.print(job_id)
    output.say("The export was asked for, and goes on by itself.")
    output.say(f"Follow it: {session.command('watch', job_id)}")
    again = session.command("download", job_id)
    output.say(f"Fetch its file when it is completed: {again}")


def _fetch(context: typer.Context, job_id: str, destination: str, identities: list[Path]) -> None:
    from backupexport_cli.commands.download import download
    from backupexport_cli.commands.following import follow

    session = session_of(context)
    output = session.output
    words = [word for each in identities for word in ("-i", str(each))]
    words += [] if destination == "." else [destination]
    again = session.command("download", job_id, *words)
    output.say(f"The export {job_id} was asked for.")
    follow(session, session.exports(), job_id, tell=output.say, on_stop=again)
    try:
        download(context, job_id, destination, identities)
    except KeyboardInterrupt:
        output.say(f"The export is completed. Fetch its file: {again}", always=True)
        raise
    except CliError as error:
        # Not by this command again: that would be another export.
        advice = f"{error.advice}\nThe export is completed. Fetch its file: {again}".strip()
        raise CliError(error.exit_code, error.message, advice, code=error.code) from None


def _wait(session: "Session", job_id: str) -> None:
    from backupexport_cli.commands.following import follow
    from backupexport_cli.output import job_text

    output = session.output
    if not output.is_json:
        output.print(job_id)
    job = follow(session, session.exports(), job_id, tell=output.say)
    for step in job_text.next_steps(job, session.command()):
        output.say(step)
