"""A local file against what its manifest or its job says of it."""

import os
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from backupexport_contract import names
from backupexport_contract.runner_protocol import json_object

from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.files.checksum import sha256_of
from backupexport_cli.files.dump_end import EXPLAINED, TAIL_BYTES, DumpEnd, dump_end
from backupexport_cli.files.failures import local_failure
from backupexport_cli.files.wanted import artifact_facts, wanted_file
from backupexport_cli.service.interface import Job

_MOST_MANIFEST_BYTES = 4 * 1024 * 1024
_JOB_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found, of a file that is as it should be."""

    path: str
    size_bytes: int
    sha256: str | None
    """None where nothing says what it should be: a decrypted file has no checksum of its own."""
    against: str
    dump_end: DumpEnd

    def document(self) -> dict[str, Any]:
        """Return it for programs."""
        return asdict(self)

    def text(self) -> str:
        """Return it for people: what was checked, and what was not."""
        if self.sha256 is None:
            known = (
                f"{self.path}: {self.size_bytes} bytes. Its SHA-256 was not compared: "
                f"{self.against} has that of the encrypted file."
            )
        else:
            known = f"{self.path}: size and SHA-256 are those of {self.against}."
        return f"{known}\n{EXPLAINED[self.dump_end]}"


@dataclass(frozen=True, slots=True)
class _Expected:
    size: int
    sha256: str
    source: str
    is_of_encrypted: bool = False


def check(path: Path, job_id: str | None, job_of: Callable[[str], Job]) -> Checked:
    """Compare a file with its manifest, else with its job, which `job_of` returns.

    Raises CliError: 6 where it is not the exported file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise CliError(
            ExitCode.NOT_FOUND, f"There is no file {path}.", "Check its name, and where you are."
        ) from None
    except OSError as error:
        raise local_failure(error, path, "read") from None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise CliError(ExitCode.USAGE, f"{path} is no file.", "Name the file to check.")
        return _compared(path, descriptor, found.st_size, _expected(path, job_id, job_of))
    except OSError as error:
        raise local_failure(error, path, "read") from None
    finally:
        os.close(descriptor)


def _compared(path: Path, descriptor: int, size: int, expected: _Expected) -> Checked:
    sha256 = None
    if not expected.is_of_encrypted:
        if size != expected.size:
            raise _corrupt(
                f"{path} has {size} bytes, and {expected.source} says {expected.size}.",
            )
        sha256 = sha256_of(descriptor, size)
        if sha256 != expected.sha256:
            raise _corrupt(f"{path} has another SHA-256 than {expected.source} says.")
    tail = os.pread(descriptor, TAIL_BYTES, max(0, size - TAIL_BYTES))
    end = dump_end(path.name, tail)
    if end == "cut":
        raise _corrupt(f"{path} does not end as pg_dump ends a dump.")
    return Checked(str(path), size, sha256, expected.source, end)


def _expected(path: Path, job_id: str | None, job_of: Callable[[str], Job]) -> _Expected:
    if job_id is None:
        for name, is_of_encrypted in ((path.name, False), (path.name + names.ENCRYPTED, True)):
            manifest = path.with_name(f"{name}.json")
            if os.path.lexists(manifest):
                size, sha256 = artifact_facts(_read_manifest(manifest))
                return _Expected(size, sha256, f"the manifest {manifest.name}", is_of_encrypted)
        found = _JOB_ID.search(path.name)
        if found is None:
            raise CliError(
                ExitCode.USAGE,
                f"Nothing says what {path.name} should be: it has no manifest beside it, and its "
                "name has no job's id.",
                "Name its job with --job ID.",
            )
        job_id = found[0]
    wanted = wanted_file(job_of(job_id))
    is_decrypted = wanted.is_encrypted and not path.name.endswith(names.ENCRYPTED)
    return _Expected(wanted.size, wanted.sha256, f"job {job_id}", is_decrypted)


def _read_manifest(path: Path) -> Mapping[str, Any]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as stream:
            content = stream.read(_MOST_MANIFEST_BYTES + 1) or b""
    except OSError as error:
        raise local_failure(error, path, "read") from None
    manifest = json_object(content) if len(content) <= _MOST_MANIFEST_BYTES else None
    if manifest is None:
        raise CliError(
            ExitCode.CORRUPT,
            f"{path} is no manifest.",
            "Remove it, and compare with the job instead: backupexport check FILE --job ID",
        )
    return manifest


def _corrupt(message: str) -> CliError:
    return CliError(ExitCode.CORRUPT, message, "Fetch it again: backupexport download ID")
