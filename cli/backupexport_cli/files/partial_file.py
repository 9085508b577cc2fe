"""A file that is not whole yet: under a name of its own, with a note of what is there of it."""

import errno
import fcntl
import json
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.files.failures import local_failure
from backupexport_cli.files.segments import Span, merged
from backupexport_cli.files.wanted import WantedFile

_MOST_NOTE_BYTES = 1024 * 1024
# A dump is for its owner alone.
_MODE = 0o600
_NOTED = {"job_id", "sha256", "size", "finished"}
_FORCE = "replace it with --force"
_REMOVE = "remove it"
# Smaller ones are not worth a request to the disk.
_WRITE_BACK_BYTES = 8 * 1024 * 1024


class PartialFile:
    """`NAME.part` with `NAME.part.json`; one command at a time has it."""

    def __init__(self, target: Path, wanted: WantedFile) -> None:
        """Open what an earlier run has left of this very file, else begin anew.

        Raises CliError where it can't be written, another command has it, or it is of something
        else: nobody has named it, so nobody has said that it may be replaced.
        """
        self.target = target
        self.path = target.with_name(target.name + ".part")
        self._note = target.with_name(target.name + ".part.json")
        self._wanted = wanted
        self.etag: str | None = None
        self._written_back = 0
        try:
            self.descriptor = self._opened()
        except OSError as error:
            raise local_failure(error, self.path) from None
        try:
            self.finished = self._read_note()
            size = max((span.end for span in self.finished), default=0)
            if os.fstat(self.descriptor).st_size < size:
                self.finished = []
            if not self.finished:
                self.empty()
        except BaseException as error:
            os.close(self.descriptor)
            if isinstance(error, OSError):
                raise local_failure(error, self.path) from None
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)

    def empty(self) -> None:
        """Forget all that is there; raises CliError."""
        self.finished, self.etag, self._written_back = [], None, 0
        # First the note: what it says is never more than there is, and without it the file is not
        # known to be of this job.
        try:
            self.record([])
            # ext4 writes a file out when it is closed after this, so a new one is spared it.
            if os.fstat(self.descriptor).st_size:
                os.ftruncate(self.descriptor, 0)
        except OSError as error:
            raise local_failure(error, self.path) from None

    def write(self, data: bytes | memoryview, position: int) -> None:
        """Write all of `data`; raises OSError."""
        view = memoryview(data)
        while view:
            count = os.pwrite(self.descriptor, view, position)
            view, position = view[count:], position + count

    def write_back(self, end: int) -> None:
        """Let the disk begin with what is written before `end`, so that `keep` waits for less."""
        new_bytes = end - self._written_back
        if new_bytes < _WRITE_BACK_BYTES or not hasattr(os, "posix_fadvise"):
            return
        # What is "not needed" is written at once; until that has happened it stays in memory.
        with suppress(OSError):
            os.posix_fadvise(self.descriptor, self._written_back, new_bytes, os.POSIX_FADV_DONTNEED)
        self._written_back = end

    def record(self, finished: list[Span]) -> None:
        """Note what has been written, for a later run; raises OSError."""
        note = {
            "job_id": self._wanted.job_id,
            "sha256": self._wanted.sha256,
            "size": self._wanted.size,
            "etag": self.etag,
            "finished": [[span.start, span.end] for span in finished],
        }
        written = self._note.with_name(self._note.name + ".new")
        written.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with os.fdopen(os.open(written, flags, _MODE), "w", encoding="ascii") as stream:
            json.dump(note, stream)
        written.replace(self._note)

    def keep(self, *, force: bool) -> None:
        """Give the file, which is whole, its final name; raises CliError."""
        try:
            os.fsync(self.descriptor)
            give_name(self.path, self.target, force=force)
            self._note.unlink(missing_ok=True)
        except OSError as error:
            raise local_failure(error, self.target) from None

    def discard(self) -> None:
        """Remove the file and its note."""
        for path in (self._note, self.path):
            with suppress(OSError):
                path.unlink()

    def _opened(self) -> int:
        """Return the descriptor of a file that nobody else has; raises OSError, CliError."""
        while True:
            descriptor, is_new = _open(self.path)
            try:
                found = _locked(descriptor, self.path)
                if _is_still(self.path, found):
                    self._check_is_of_this_job(found, is_new=is_new)
                    # A run may be killed just after it has given the file its final name, too.
                    if found.st_nlink <= 1 and (is_new or _is_private(descriptor, found)):
                        return descriptor
                    self.path.unlink(missing_ok=True)
            except BaseException:
                os.close(descriptor)
                raise
            # Whoever had it has just given it its final name.
            os.close(descriptor)

    def _check_is_of_this_job(self, found: os.stat_result, *, is_new: bool) -> None:
        """Raise CliError where the file or its note is not from an earlier run of this job."""
        note = self._note_there()
        if os.path.lexists(self._note) and not _NOTED.issubset(note):
            raise _foreign(self._note)
        is_of_this_job = note.get("job_id") == self._wanted.job_id
        if not is_new and (found.st_uid != os.geteuid() or (found.st_size and not is_of_this_job)):
            raise _foreign(self.path)

    def _note_there(self) -> dict[str, Any]:
        """Return the note, empty where there is none that can be read."""
        try:
            descriptor = os.open(self._note, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with os.fdopen(descriptor, "rb") as stream:
                text = stream.read(_MOST_NOTE_BYTES + 1) or b""
            note = json.loads(text) if len(text) <= _MOST_NOTE_BYTES else None
        except (OSError, ValueError, RecursionError):
            return {}
        return note if isinstance(note, dict) else {}

    def _read_note(self) -> list[Span]:
        """Return what is there of the wanted file, nothing where the note is of another one."""
        note = self._note_there()
        expected = {
            "job_id": self._wanted.job_id,
            "sha256": self._wanted.sha256,
            "size": self._wanted.size,
        }
        if any(note.get(name) != value for name, value in expected.items()):
            return []
        etag = note.get("etag")
        self.etag = etag if isinstance(etag, str) else None
        return _spans(note.get("finished"), self._wanted.size)


def give_name(path: Path, target: Path, *, force: bool) -> None:
    """Rename a file, over another one only with `force`; raises OSError, and CliError for that."""
    if force:
        path.replace(target)
        # Two names of one file stay two.
        path.unlink(missing_ok=True)
    else:
        try:
            os.link(path, target)
        except FileExistsError:
            raise in_the_way(target) from None
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
                raise
            # A file system without second names has no rename that spares what is there, either.
            if os.path.lexists(target):
                raise in_the_way(target) from None
            path.rename(target)
        else:
            path.unlink()
    directory = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    except OSError as error:
        # Some network file systems have no such thing.
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(directory)


def in_the_way(target: Path, *, may_be_forced: bool = True, is_decrypted: bool = False) -> CliError:
    """Return the error for a name that something has: of a decrypted file, maybe the same one."""
    return CliError(
        ExitCode.USAGE,
        f"{target} is there already, and whether it is this file is not known."
        if is_decrypted
        else f"{target} is there already, and it is not this file.",
        f"Choose another directory or name, or {_FORCE if may_be_forced else _REMOVE}.",
    )


def _foreign(path: Path) -> CliError:
    return CliError(
        ExitCode.USAGE,
        f"{path} is there already, and it is not from an earlier run of this download.",
        f"Choose another directory or name, or {_REMOVE}.",
    )


def _open(path: Path) -> tuple[int, bool]:
    """Return a descriptor, and whether there was no such file before; raises OSError."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    while True:
        with suppress(FileExistsError):
            return os.open(path, flags | os.O_CREAT | os.O_EXCL, _MODE), True
        with suppress(FileNotFoundError):
            return os.open(path, flags), False


def _is_private(descriptor: int, found: os.stat_result) -> bool:
    """Return whether nobody else can have it open, as far as the file system knows of that."""
    if not found.st_mode & 0o077:
        return True
    with suppress(PermissionError):
        os.fchmod(descriptor, _MODE)
    # Where it has not helped, the file system has one mode for all.
    return bool(os.fstat(descriptor).st_mode & 0o077)


def _locked(descriptor: int, path: Path) -> os.stat_result:
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise _foreign(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise CliError(
            ExitCode.FAILED,
            f"Another command is writing {path} right now.",
            "Wait until it has ended, or choose another directory.",
        ) from None
    except OSError as error:
        # Some network file systems have no locks.
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP):
            raise
    return found


def _is_still(path: Path, found: os.stat_result) -> bool:
    try:
        return os.path.samestat(path.lstat(), found)
    except FileNotFoundError:
        return False


def _spans(value: Any, size: int) -> list[Span]:
    if not isinstance(value, list):
        return []
    spans = []
    for pair in value:
        if not (isinstance(pair, list) and len(pair) == 2 and all(type(n) is int for n in pair)):
            return []
        start, end = pair
        if not 0 <= start < end <= size:
            return []
        spans.append(Span(start, end))
    return merged(spans)
