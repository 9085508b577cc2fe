"""The artifact on the volume: written under a hidden name, synced, renamed.

    .<file name>.partial  ->  <file name>
    .<file name>.json.partial  ->  <file name>.json

Both files are whole and synced before the first is renamed, so a file under its final name is
whole, and a manifest never stands alone.
"""

import contextlib
import errno
import os
import re
import stat
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from backupexport_contract import names
from backupexport_contract.reasons import ExitCode

from backupexport_runner.task.failure import Failure
from backupexport_runner.volume.failures import storage_failure

_FILE_MODE = 0o640
# What opening a link, a socket or a device without a driver ends with.
_NO_FILE = (errno.ELOOP, errno.ENXIO, errno.ENODEV)
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PARTIAL = re.compile(r"\.(?P<file_name>.+?)(?:\.json)?\.partial")
# Written pages are handed to the disk in steps this large, so that the last fsync has little
# left to wait for and a dump doesn't fill the pod's memory with page cache.
_FLUSH_BYTES = 8 * 1024 * 1024
# No export runs this long without writing; its deadline is shorter.
_ABANDONED_SECONDS = 24 * 3600
_LONGEST_SWEEP_SECONDS = 2.0


def partial_name(file_name: str) -> str:
    """The hidden name under which a file is written."""
    return f".{file_name}.partial"


class PartialFile:
    """One file while it is written; without `publish` nothing of it stays, nor after an error.

    `directory` is a descriptor that must stay open as long.  Errors of the volume are
    Failure, except that `discard` has none: `is_gone` tells how it went.  Names change
    only within a context of `changing`.
    """

    def __init__(
        self,
        directory: int,
        file_name: str,
        changing: Callable[[], contextlib.AbstractContextManager[object]] = contextlib.nullcontext,
    ) -> None:
        self._directory = directory
        self._file_name = file_name
        self._changing = changing
        self._name = partial_name(file_name)
        self._file = -1
        self._written = self._flushed = 0
        self.is_gone = True

    def __enter__(self) -> Self:
        with self._changing():
            self.is_gone = False
            try:
                self._file = os.open(self._name, _CREATE, _FILE_MODE, dir_fd=self._directory)
            except OSError as error:
                # A network's file system can fail after it has made the file.
                self.is_gone = isinstance(error, FileExistsError) or self._is_missing()
                raise storage_failure(error) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None or self._name != self._file_name:
            self.discard()
        with contextlib.suppress(OSError):
            os.close(self._file)
        self._file = -1

    def discard(self) -> None:
        """Remove the file under the name it has, hidden or final, if that still means it."""
        with self._changing(), contextlib.suppress(OSError):
            if self._file < 0:
                return
            if self._owns_name():
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._name, dir_fd=self._directory)
                os.fsync(self._directory)
            self.is_gone = True

    def write(self, data: bytes | memoryview) -> None:
        """Append all of `data`."""
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._file, left) :]
        except OSError as error:
            raise storage_failure(error) from error
        self._written += len(data)
        if self._written - self._flushed >= _FLUSH_BYTES:
            with contextlib.suppress(OSError):
                os.posix_fadvise(self._file, 0, self._written, os.POSIX_FADV_DONTNEED)
            self._flushed = self._written

    def sync(self) -> None:
        """Wait until the disk has it all."""
        try:
            os.fsync(self._file)
        except OSError as error:
            raise storage_failure(error) from error

    def publish(self) -> None:
        """Give the file its final name, in place of whatever has it."""
        with self._changing():
            try:
                if not self._owns_name():
                    raise _taken_over()
                os.rename(
                    self._name,
                    self._file_name,
                    src_dir_fd=self._directory,
                    dst_dir_fd=self._directory,
                )
                self._name = self._file_name
                os.fsync(self._directory)
            except FileNotFoundError as error:
                raise _taken_over() from error
            except OSError as error:
                raise storage_failure(error) from error

    def _owns_name(self) -> bool:
        """Whether the name still means this file, and not one of a later attempt."""
        try:
            there = os.stat(self._name, dir_fd=self._directory, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(there, os.fstat(self._file))

    def _is_missing(self) -> bool:
        try:
            os.stat(self._name, dir_fd=self._directory, follow_symlinks=False)
        except OSError as error:
            return isinstance(error, FileNotFoundError)
        return False


def _taken_over() -> Failure:
    return Failure(
        ExitCode.INTERNAL,
        "Another attempt of this export, or its cleanup, took the file over: wait for that one.",
    )


def remove_stale_partials(directory: int, job_id: str) -> list[str]:
    """Remove what earlier attempts of this job left in the directory; their names."""
    try:
        left = [name for name in os.listdir(directory) if job_id in (_of_partial(name) or "")]
    except OSError as error:
        raise storage_failure(error) from error
    return [name for name in left if remove_file(directory, name)]


def remove_file(directory: int, name: str) -> bool:
    """Remove the file, or the link itself, of this name; False where none is or a directory."""
    try:
        # Looked for first, because a read-only volume refuses to remove what isn't there, too.
        there = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if stat.S_ISDIR(there.st_mode):
            return False
        os.unlink(name, dir_fd=directory)
    except (FileNotFoundError, IsADirectoryError):
        return False
    except OSError as error:
        raise storage_failure(error) from error
    return True


def remove_abandoned_partials(mount: Path, now: float) -> list[str]:
    """Remove what other jobs, killed without a later attempt, left anywhere in the project.

    Only what nobody has written to for a day (`now` is a time.time()).  This is tidying: it
    takes two seconds at most and its errors are no reason to stop.
    """
    removed = []
    end = time.monotonic() + _LONGEST_SWEEP_SECONDS
    with contextlib.suppress(OSError):
        for root, _, file_names, directory in os.fwalk(mount, follow_symlinks=False):
            for name in file_names:
                if _of_partial(name) is None:
                    continue
                with contextlib.suppress(OSError):
                    there = os.stat(name, dir_fd=directory, follow_symlinks=False)
                    if now - there.st_mtime > _ABANDONED_SECONDS:
                        os.unlink(name, dir_fd=directory)
                        removed.append(str(Path(root, name)))
            if time.monotonic() > end:
                break
    return removed


def _of_partial(name: str) -> str | None:
    """The artifact's file name, where `name` is the hidden one of it or of its manifest."""
    match = _PARTIAL.fullmatch(name)
    if match is None or not names.is_artifact_file_name(match["file_name"]):
        return None
    return match["file_name"]
