"""The file that a job has left, as its answer describes it, and what it is called here."""

import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backupexport_contract import names

from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.files.failures import local_failure
from backupexport_cli.output.clean import clean
from backupexport_cli.service.interface import Job

_SHA256 = re.compile(r"[0-9a-f]{64}")
_MOST_BYTES = 2**63 - 1
_REASONS = {
    "pending": ("has not begun yet", "Wait for it: backupexport watch {0}"),
    "running": ("has not ended yet", "Wait for it: backupexport watch {0}"),
    "failed": ("has failed, so it has no file", "See why: backupexport job {0}"),
    "cancelled": ("was cancelled, so it has no file", "Ask for a new one: backupexport export {1}"),
}


@dataclass(frozen=True, slots=True)
class WantedFile:
    """What is to be fetched, and how it is known to be right."""

    job_id: str
    name: str
    size: int
    sha256: str

    @property
    def is_encrypted(self) -> bool:
        """Whether it is encrypted with age."""
        return self.name.endswith(names.ENCRYPTED)

    @property
    def decrypted_name(self) -> str:
        """What it is called without its encryption."""
        return self.name.removesuffix(names.ENCRYPTED)


def wanted_file(job: Job) -> WantedFile:
    """Return the file of a job; raises CliError where it has none, or describes none."""
    job_id = job.get("job_id")
    if not isinstance(job_id, str) or not names.is_uuid(job_id):
        raise _nonsense("job")
    artifact = job.get("artifact")
    if job.get("status") != "completed" or not isinstance(artifact, Mapping):
        what, advice = _REASONS.get(str(job.get("status")), ("has no file", "Ask for a new one."))
        project = clean(job.get("project_id", "PROJECT"), 100)
        raise CliError(ExitCode.FAILED, f"Job {job_id} {what}.", advice.format(job_id, project))
    size, sha256 = artifact_facts(artifact)
    return WantedFile(job_id, local_name(artifact.get("path"), job_id), size, sha256)


def artifact_facts(artifact: Mapping[str, Any]) -> tuple[int, str]:
    """Return the size and the SHA-256 that a job or a manifest tells; raises CliError."""
    size, sha256 = artifact.get("size_bytes"), artifact.get("sha256")
    if type(size) is not int or not 0 <= size <= _MOST_BYTES:
        raise _nonsense("size")
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise _nonsense("SHA-256")
    return size, sha256


def local_name(path: object, job_id: str) -> str:
    """Return the stored file's name where that is one of an export, else a name of our own."""
    text = path if isinstance(path, str) else ""
    name = text.rpartition("/")[2]
    if names.is_artifact_file_name(name):
        return name
    return f"export-{job_id}{names.ENCRYPTED if name.endswith(names.ENCRYPTED) else ''}"


def placed(destination: Path | None, name: str) -> Path:
    """Return where a file of that name goes: into a directory, or to a path that the user names.

    Raises CliError where there is no such directory, or it may not be looked into.
    """
    target = Path() if destination is None else destination
    if is_directory(target):
        return target / name
    if not is_directory(target.parent):
        raise CliError(
            ExitCode.USAGE,
            f"There is no directory {target.parent}.",
            "Make it, or name one that is there.",
        )
    return target


def named_place(text: str) -> Path:
    """Return the path that a user names; raises CliError where it should be a directory, and isn't.

    A path forgets the / at its end.
    """
    path = Path(text)
    if text.endswith("/") and not is_directory(path):
        raise CliError(
            ExitCode.USAGE,
            f"There is no directory {text}.",
            "Make it, or name one that is there.",
        )
    return path


def is_directory(path: Path) -> bool:
    """Return whether it is one; raises CliError where that may not be seen."""
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise local_failure(error, path) from None


def _nonsense(what: str) -> CliError:
    return CliError(
        ExitCode.UNREACHABLE,
        f"What describes the file has no {what} that makes sense.",
        "Check the server's address, and whether the manifest is the export's own.",
    )
