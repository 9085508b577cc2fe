"""Options and arguments that several commands have."""

import re
from enum import StrEnum
from typing import Annotated

import typer
from backupexport_contract import names

from backupexport_cli.commands.completion import job_ids, project_ids
from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.service.interface import Exports, JobFilter
from backupexport_cli.session import Session

_SHORTEST = 8
_NEWEST = 200


class Status(StrEnum):
    """What a job can be."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


JobId = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="A job's id, or its first 8 characters or more.",
        autocompletion=job_ids,
    ),
]
ProjectId = Annotated[
    str, typer.Argument(metavar="PROJECT", help="A project's id.", autocompletion=project_ids)
]


def session_of(context: typer.Context) -> Session:
    """Return what the global options say."""
    session = context.obj
    if not isinstance(session, Session):
        raise TypeError("a command without a session")
    return session


def full_job_id(exports: Exports, given: str) -> str:
    """Return the id of the job that the user means; raises CliError where that is not one."""
    if names.is_uuid(given.lower()):
        return given.lower()
    if not re.fullmatch(f"[0-9a-f-]{{{_SHORTEST},36}}", given.lower()):
        raise CliError(
            ExitCode.USAGE,
            "That is no job's id.",
            f"Give the id, or its first {_SHORTEST} characters or more: backupexport jobs",
        )
    newest = [job["job_id"] for job in exports.jobs(JobFilter(), _NEWEST)]
    found = [job_id for job_id in newest if job_id.startswith(given.lower())]
    if len(found) > 1:
        raise CliError(
            ExitCode.USAGE,
            f"{len(found)} of the newest {_NEWEST} jobs have an id that begins so.",
            f"Give more of it: {', '.join(found[:3])}",
        )
    if not found:
        raise CliError(
            ExitCode.NOT_FOUND,
            f"None of the newest {_NEWEST} jobs has an id that begins so.",
            "Give the whole id of an older one, or look for it: backupexport jobs",
        )
    return str(found[0])
