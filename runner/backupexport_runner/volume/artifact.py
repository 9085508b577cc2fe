"""The artifact on the volume: written under a hidden name, synced, renamed.

    .<file name>.partial  ->  <file name>
    .<file name>.json.partial  ->  <file name>.json

Both files are complete and synced before the first is renamed, so a file under its final name is
complete, and a manifest never exists without its artifact.
"""

import contextlib
import os
import re
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from backupexport_contract import names
from backupexport_contract.reasons import ExitCode
from backupexport_runtime import volume

from backupexport_runner.task.failure import Failure
from backupexport_runner.task.interruption import Interruption
from backupexport_runner.volume.failures import storage_failure, volume_errors

_PARTIAL = re.compile(r"\.(?P<file_name>.+?)(?:\.json)?\.partial")
# Written pages are handed to the disk in steps this large, so that the last fsync has little
# left to wait for and a dump doesn't fill the pod's memory with page cache.
_FLUSH_BYTES = 8 * 1024 * 1024
# No export runs this long without writing; its deadline is shorter.
_ABANDONED_SECONDS = 24 * 3600
_LONGEST_SWEEP_SECONDS = 2.0


def partial_name(file_name: str) -> str:
    """Returns the hidden name under which a file is written."""
    return f".{file_name}.partial"


class PartialFile:
    """A file while it is written; the end of the context removes it, unless it was published.

    `directory` is a descriptor that must stay open as long.  `interruption` may discard the file,
    and hold up changes of names.  Methods raise Failure if the volume fails, except `discard`:
    `is_gone` tells whether it removed the file.
    """

    def __init__(
        self, directory: int, file_name: str, interruption: Interruption | None = None
    ) -> None:
        self._directory = directory
        self._file_name = file_name
        interruption = interruption or Interruption()
        interruption.watch(self.discard, lambda: self.is_gone)
        self._changing = interruption.changing
        self._name = partial_name(file_name)
        self._file = -1
        self._written = self._flushed = 0
        self.is_gone = True

    def __enter__(self) -> Self:
        with self._changing:
            self.is_gone = False
            try:
                self._file = volume.create_file(self._directory, self._name)
            except OSError as error:
                # A network's file system can fail after it has made the file.
                self.is_gone = isinstance(error, FileExistsError)
                with contextlib.suppress(OSError):
                    self.is_gone |= volume.look_up(self._directory, self._name) is None
                raise storage_failure(error) from error
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if error is not None or self._name != self._file_name:
            self.discard()
        with contextlib.suppress(OSError):
            os.close(self._file)
        self._file = -1

    def discard(self) -> None:
        """Removes the file under its hidden or final name, if that is still this file's."""
        with self._changing, contextlib.suppress(OSError):
            if self._file < 0:
                return
            if self._owns_name():
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._name, dir_fd=self._directory)
                os.fsync(self._directory)
            self.is_gone = True

    @volume_errors()
    def write(self, data: bytes | memoryview) -> None:
        """Appends all of `data`."""
        write_all(self._file, data)
        self._written += len(data)
        if self._written - self._flushed >= _FLUSH_BYTES:
            with contextlib.suppress(OSError):
                os.posix_fadvise(self._file, 0, self._written, os.POSIX_FADV_DONTNEED)
            self._flushed = self._written

    @volume_errors()
    def sync(self) -> None:
        """Waits until all of it is on the disk."""
        os.fsync(self._file)

    def publish(self) -> None:
        """Gives the file its final name, in place of whatever has it."""
        with self._changing, volume_errors():
            here, hidden = self._directory, self._name
            with contextlib.suppress(FileNotFoundError):
                if self._owns_name():
                    os.rename(hidden, self._file_name, src_dir_fd=here, dst_dir_fd=here)
                    self._name = self._file_name
            if self._name == hidden:
                raise Failure(
                    ExitCode.INTERNAL,
                    "Another attempt of this export, or its cleanup, took the file over: wait for "
                    "that one.",
                )
            os.fsync(here)

    def _owns_name(self) -> bool:
        """Whether the name is still this file's, and not that of a later attempt's."""
        there = volume.look_up(self._directory, self._name)
        return there is not None and os.path.samestat(there, os.fstat(self._file))


def write_all(file: int, data: bytes | memoryview) -> None:
    """Writes all of `data` to the descriptor.  Raises OSError."""
    left = memoryview(data)
    while left:
        left = left[os.write(file, left) :]


def remove_stale_partials(directory: int, job_id: str) -> list[str]:
    """Removes what earlier attempts of this export left in the directory; returns the names."""
    return remove_files(directory, lambda name: job_id in (_of_partial(name) or ""))


@volume_errors()
def remove_files(directory: int, is_wanted: Callable[[str], bool]) -> list[str]:
    """Removes the files of the directory whose names are wanted; returns these names."""
    names_there = filter(is_wanted, os.listdir(directory))
    return [name for name in names_there if remove_file(directory, name)]


@volume_errors()
def remove_file(directory: int, name: str) -> bool:
    """Removes the file, or the link itself; returns False if there is none, or a directory."""
    # Looked for first, because a read-only volume refuses to remove what isn't there, too.
    there = volume.look_up(directory, name)
    if there is None or stat.S_ISDIR(there.st_mode):
        return False
    try:
        os.unlink(name, dir_fd=directory)
    except (FileNotFoundError, IsADirectoryError):
        return False
    return True


def remove_abandoned_partials(mount: Path, now: float) -> list[str]:
    """Removes what killed exports left in the project and nobody wrote to for a day.

    `now` is a time.time().  Takes two seconds at most, ignores errors, and returns the paths.
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
    """Returns the artifact's name if `name` is the hidden one of it or of its manifest, or None."""
    match = _PARTIAL.fullmatch(name)
    file_name = match["file_name"] if match else ""
    return file_name if names.is_artifact_file_name(file_name) else None
