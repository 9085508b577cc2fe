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
from backupexport_cli.files.decompression import DamagedError, decompressed_tail
from backupexport_cli.files.dump_end import (
    EXPLAINED,
    HEAD_BYTES,
    TAIL_BYTES,
    DumpEnd,
    Kind,
    dump_end,
    kind_of,
    named,
)
from backupexport_cli.files.failures import local_failure
from backupexport_cli.files.wanted import artifact_facts, wanted_file
from backupexport_cli.service.interface import Job

_MOST_MANIFEST_BYTES = 4 * 1024 * 1024
_JOB_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# Why nothing says that a decrypted file is whole, and what does.
_UNSEEN: dict[DumpEnd, tuple[str, str]] = {
    "compressed": (
        "there is no zstd here that reads it to its end",
        "Install zstd and check it again",
    ),
    "archive": (
        "the end of an archive does not tell",
        "Read it all with pg_restore -f /dev/null FILE",
    ),
    "unknown": (
        "neither its name nor how it begins says what it is",
        "Give it the ending that the exported file has before .age",
    ),
}


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
    name: str
    size: int
    sha256: str
    source: str
    may_be_decrypted: bool = False
    job_id: str | None = None


def check(path: Path, job_id: str | None, job_of: Callable[[str], Job]) -> Checked:
    """Compare a file with its manifest, else with its job, which `job_of` returns.

    Raises CliError: 6 where it is not the exported file, 1 where nothing tells.
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
    """Return what was found: it is the exported file, or what was inside of it."""
    sha256 = sha256_of(descriptor, size) if size == expected.size else None
    is_exported = sha256 == expected.sha256
    own, exported = named(path.name), named(expected.name)
    head = os.pread(descriptor, HEAD_BYTES, 0)
    kind = kind_of(head, own, exported, is_exported=is_exported)
    if not is_exported:
        # Whatever it is called: the exported file, or a part of it, is no decrypted one.
        is_encrypted = kind == "age" or own.is_encrypted
        if is_encrypted or not expected.may_be_decrypted:
            raise _another(path, size, expected)
        _check_is_named_so(path, expected)
        sha256 = None
    tail = os.pread(descriptor, TAIL_BYTES, max(0, size - TAIL_BYTES))
    end = dump_end(kind, tail)
    if end == "compressed" and not is_exported:
        end = _end_inside(path, descriptor, kind, exported.format or own.format, expected.job_id)
    if end == "cut":
        raise _corrupt(f"{path} does not end as pg_dump ends a dump.", expected.job_id)
    if not is_exported and end in _UNSEEN:
        raise _unknown(path, expected, end)
    return Checked(str(path), size, sha256, expected.source, end)


def _end_inside(
    path: Path, descriptor: int, kind: Kind, inside: Kind, job_id: str | None
) -> DumpEnd:
    try:
        tail = decompressed_tail(kind, descriptor, TAIL_BYTES)
    except DamagedError:
        raise _corrupt(
            f"{path} can't be decompressed to its end: it was cut, or damaged.", job_id
        ) from None
    if tail is None:
        return "compressed"
    end = dump_end(inside, tail)
    return end if end in ("whole", "cut") else "decompressed"


def _another(path: Path, size: int, expected: _Expected) -> CliError:
    what = (
        f"{path} has {size} bytes, and {expected.source} says {expected.size}."
        if size != expected.size
        else f"{path} has another SHA-256 than {expected.source} says."
    )
    return _corrupt(what, expected.job_id)


def _check_is_named_so(path: Path, expected: _Expected) -> None:
    """Raise CliError where the name of a file without a checksum tells another job."""
    named_job = _JOB_ID.search(path.name)
    if named_job is not None and expected.job_id not in (None, named_job[0]):
        raise CliError(
            ExitCode.USAGE,
            f"{path.name} is of job {named_job[0]}, as its name says, not of {expected.job_id}.",
            "Leave out --job, or name that one.",
        )


def _unknown(path: Path, expected: _Expected, end: DumpEnd) -> CliError:
    why, advice = _UNSEEN[end]
    return CliError(
        ExitCode.FAILED,
        f"Whether {path} is whole is not known: {expected.source} has the SHA-256 of the encrypted "
        f"file alone, and {why}.",
        f"{advice}, or check the encrypted file.",
    )


def _expected(path: Path, job_id: str | None, job_of: Callable[[str], Job]) -> _Expected:
    if job_id is None:
        for name in (path.name, path.name + names.ENCRYPTED):
            manifest = path.with_name(f"{name}.json")
            if os.path.lexists(manifest):
                size, sha256 = artifact_facts(_read_manifest(manifest))
                source = f"the manifest {manifest.name}"
                told = _JOB_ID.search(name)
                job_of_name = told[0] if told else None
                return _Expected(name, size, sha256, source, name != path.name, job_of_name)
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
    source = f"job {job_id}"
    return _Expected(wanted.name, wanted.size, wanted.sha256, source, wanted.is_encrypted, job_id)


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


def _corrupt(message: str, job_id: str | None) -> CliError:
    advice = f"Remove it, and fetch it again: backupexport download {job_id or 'ID'}"
    return CliError(ExitCode.CORRUPT, message, advice)
