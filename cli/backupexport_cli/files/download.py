"""From a job to its whole, checked file under its final name."""

import os
import stat
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from backupexport_contract.readable import readable_size

from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.files.checksum import sha256_of
from backupexport_cli.files.decryption import decrypt, decrypt_file
from backupexport_cli.files.failures import local_failure
from backupexport_cli.files.identities import read_identities
from backupexport_cli.files.partial_file import PartialFile, in_the_way
from backupexport_cli.files.stream import StreamReader, corrupt, streamed
from backupexport_cli.files.transfer import FileSource, Transfer
from backupexport_cli.files.wanted import WantedFile, placed, wanted_file
from backupexport_cli.output.console import Output
from backupexport_cli.service.interface import Job


@dataclass(frozen=True, slots=True)
class _Places:
    """Where the file goes as it comes, and where without its encryption."""

    stored: Path
    decrypted: Path | None


def download(
    rest: FileSource,
    job: Job,
    destination: Path | None,
    *,
    connections: int | None,
    identities: Sequence[Path],
    output: Output,
    force: bool = False,
    keep_encrypted: bool = False,
) -> Path:
    """Fetch a job's file, check it, decrypt it where there are identities; return where it is.

    `destination` is a directory, a file, or the current directory (None).  `connections` are as
    many as help where it is None.  Raises CliError.
    """
    wanted = wanted_file(job)
    keys = read_identities(identities)
    places = _places(wanted, destination, decrypts=bool(keys))
    if keys and places.decrypted is None:
        output.warn(f"{wanted.name} is not encrypted, so no identity is needed.")
    if places.decrypted is not None and os.path.lexists(places.decrypted):
        _check_may_be_replaced(places.decrypted, force=force, is_named=True, is_decrypted=True)
    try:
        # Only the file that the user has named is replaced.
        is_named = places.decrypted is None
        is_fetched = _fetch(
            rest,
            wanted,
            places.stored,
            connections=connections,
            output=output,
            force=force and is_named,
            is_named=is_named,
        )
    except KeyboardInterrupt:
        output.warn(
            f"Stopped. What has come stays in {places.stored}.part; go on with the same command: "
            f"backupexport download {wanted.job_id}"
        )
        raise
    if places.decrypted is None:
        return places.stored
    decrypt_file(places.stored, places.decrypted, keys, force=force)
    if is_fetched and not keep_encrypted:
        places.stored.unlink(missing_ok=True)
    kept = "" if is_fetched else f" {places.stored} stays: it was there before."
    output.say(f"Decrypted it into {places.decrypted}.{kept}")
    return places.decrypted


def download_to_stdout(
    rest: FileSource,
    job: Job,
    *,
    identities: Sequence[Path],
    output: Output,
    stdout: BinaryIO | None = None,
) -> None:
    """Write a job's file to standard output; raises CliError, 6 where it was not the right one."""
    wanted = wanted_file(job)
    keys = read_identities(identities)
    out = stdout or sys.stdout.buffer
    if out.isatty():
        raise CliError(
            ExitCode.USAGE,
            "The file is not for a terminal.",
            "Send it to a program or a file: backupexport download ID - | …",
        )
    try:
        _send(streamed(rest, wanted), out, keys if wanted.is_encrypted else [], wanted.name)
        out.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise CliError(
            ExitCode.FAILED,
            local_failure(error, Path("Standard output")).message,
            "See where it goes, and run the same command again.",
        ) from None
    output.say(f"{wanted.name}: {readable_size(wanted.size)}, and its SHA-256 is right.")


def _send(pieces: Iterator[bytes], out: BinaryIO, keys: Sequence[Any], name: str) -> None:
    if not keys:
        out.writelines(pieces)
        return
    reader = StreamReader(pieces)
    try:
        decrypt(reader, out, keys, name)
    except (CliError, OSError) as error:
        if reader.error is not None:
            raise reader.error from None
        if isinstance(error, CliError) and error.exit_code is ExitCode.CORRUPT:
            # The checksum tells whether it came damaged.
            reader.drain()
        raise
    reader.drain()


def is_whole(path: Path, wanted: WantedFile) -> bool:
    """Return whether a file is the exported one; raises CliError where it can't be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise local_failure(error, path, "read") from None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size != wanted.size:
            return False
        return sha256_of(descriptor, wanted.size) == wanted.sha256
    except OSError as error:
        raise local_failure(error, path, "read") from None
    finally:
        os.close(descriptor)


def _places(wanted: WantedFile, destination: Path | None, *, decrypts: bool) -> _Places:
    if not (decrypts and wanted.is_encrypted):
        return _Places(placed(destination, wanted.name), None)
    decrypted = placed(destination, wanted.decrypted_name)
    return _Places(decrypted.with_name(f"{decrypted.name}.age"), decrypted)


def _fetch(
    rest: FileSource,
    wanted: WantedFile,
    target: Path,
    *,
    connections: int | None,
    output: Output,
    force: bool,
    is_named: bool,
) -> bool:
    """Fetch the file; return whether it was not there before.  Raises CliError."""
    if os.path.lexists(target):
        if is_whole(target, wanted):
            output.say(f"{target} is there already, whole and with the right SHA-256.")
            return False
        _check_may_be_replaced(target, force=force, is_named=is_named)
    with PartialFile(target, wanted) as part:
        there = sum(map(len, part.finished))
        _check_room(target, wanted.size - there)
        if there:
            output.say(f"{readable_size(there)} of {readable_size(wanted.size)} are there already.")
        with output.bar(wanted.job_id[:8]) as bar:
            transfer = Transfer(
                rest,
                wanted,
                part,
                connections=connections,
                on_progress=lambda done: bar.update(done, wanted.size),
            )
            sha256 = transfer.run()
        if sha256 != wanted.sha256:
            part.discard()
            raise corrupt(wanted, "Nothing was kept of it. Run the same command again.")
        part.keep(force=force)
    output.say(f"{target}: {readable_size(wanted.size)}, and its SHA-256 is right.")
    return True


def _check_may_be_replaced(
    target: Path, *, force: bool, is_named: bool, is_decrypted: bool = False
) -> None:
    """Raise CliError where it may not: no directory, pipe or device is."""
    if not force or not (target.is_symlink() or target.is_file()):
        raise in_the_way(target, may_be_forced=is_named and not force, is_decrypted=is_decrypted)


def _check_room(target: Path, needed: int) -> None:
    """Raise CliError where the disk has less room than what is still to come."""
    try:
        found: Any = os.statvfs(target.parent)
    except OSError:
        # What is wrong shows when it is written.
        return
    free = found.f_bavail * found.f_frsize
    # Some network file systems tell nothing of their size.
    if found.f_blocks and needed > free:
        raise CliError(
            ExitCode.FAILED,
            f"{readable_size(needed)} are to come, and {target.parent} has room for "
            f"{readable_size(free)}.",
            "Free some space, or choose a directory on another disk.",
        )
