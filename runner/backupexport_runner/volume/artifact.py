"""The artifact on the volume: written under a hidden name, synced, given its final name.

    .<file name>@<attempt>.partial  ->  <file name>
    .<file name>.json@<attempt>.partial  ->  <file name>.json

Both files are complete and synced before the first gets its final name, so a file under that is
complete, and a manifest never exists without its artifact.

An attempt is a pod.  Kubernetes makes the next one when the last has ended, or was given up
together with a node that is silent (podReplacementPolicy: Failed).  So whatever an attempt finds
when it begins is of no more use, and goes: it takes room, and who comes back from a silent node
can't publish it any more.  Such a one does no harm to its successor:

- It writes, renames and removes its own hidden names alone.
- A final name that is taken stays: the first whole file wins (`TakenOverFailure`).
- What it finds late may be its successor's, and stays (`seconds_now`, `BEGINNING_SECONDS`).
- A final name is never taken back: nothing tells whose it is at the moment of its removal, least
  of all a network's file system.  `tidy` removes it if the manifest is missing.
"""

import contextlib
import errno
import math
import os
import re
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from backupexport_contract import names
from backupexport_runtime import volume

from backupexport_runner.storage.failures import TakenOverFailure
from backupexport_runner.task.clock import seconds_now
from backupexport_runner.task.failure import Failure
from backupexport_runner.task.interruption import Interruption
from backupexport_runner.volume.failures import storage_failure, volume_errors

# Older runners name no attempt.
_PARTIAL = re.compile(r"\.(?P<file_name>.+?)(?:\.json)?(?:@[^@]*)?\.partial")
# Written pages are handed to the disk in steps this large, so that the last fsync has little
# left to wait for and a dump doesn't fill the pod's memory with page cache.
_FLUSH_BYTES = 8 * 1024 * 1024
# No export runs this long without writing; its deadline is shorter.
_ABANDONED_SECONDS = 24 * 3600
_LONGEST_SWEEP_SECONDS = 2.0
# Of file systems without hard links: https://man7.org/linux/man-pages/man2/link.2.html.
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)


def partial_name(file_name: str, attempt: str) -> str:
    """Returns the hidden name under which an attempt writes a file."""
    return f".{file_name}@{attempt}.partial"


class PartialFile:
    """A file while it is written; the end of the context removes it, unless it was published.

    `directory` is a descriptor that must stay open as long.  `interruption` may discard the file,
    and hold up changes of names.  Methods raise Failure if the volume fails, except `discard`:
    `is_gone` tells whether nothing of the file is left.
    """

    def __init__(
        self,
        directory: int,
        file_name: str,
        attempt: str,
        interruption: Interruption | None = None,
    ) -> None:
        self._directory = directory
        self._file_name = file_name
        interruption = interruption or Interruption()
        interruption.watch(self.discard, lambda: self.is_gone)
        self._changing = interruption.changing
        self.name = partial_name(file_name, attempt)
        self._file = -1
        self._identity: os.stat_result | None = None
        self._written = self._flushed = 0
        self.is_gone = True
        self._is_published = False

    def __enter__(self) -> Self:
        with self._changing:
            self.is_gone = False
            try:
                self._file = volume.create_file(self._directory, self.name)
                self._identity = os.fstat(self._file)
            except OSError as error:
                # A network's file system can fail after it has made the file.
                self.is_gone = isinstance(error, FileExistsError)
                with contextlib.suppress(OSError):
                    self.is_gone |= volume.look_up(self._directory, self.name) is None
                raise storage_failure(error) from error
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if error is not None or not self._is_published:
            self.discard()
        with contextlib.suppress(OSError):
            self._close()
        # The directory's descriptor may be another's from now on.
        self._identity = None

    def _close(self) -> None:
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def discard(self) -> None:
        """Removes the hidden name, which is this attempt's alone."""
        with self._changing, contextlib.suppress(OSError):
            if self._identity is None:
                return
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.name, dir_fd=self._directory)
            os.fsync(self._directory)
            there = volume.look_up(self._directory, self._file_name)
            self.is_gone = not self._is_published or there is None

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
        """Gives the file its final name, if nothing has that.  Raises TakenOverFailure."""
        with self._changing, volume_errors():
            # NFS gives a file that is open another name when it loses one.
            self._close()
            # Also if the call fails: a network's file system may have done it all the same.
            self._is_published = True
            try:
                self._name_finally()
            except (FileNotFoundError, TakenOverFailure):
                self._is_published = False
                raise TakenOverFailure from None
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.name, dir_fd=self._directory)
            os.fsync(self._directory)

    def _name_finally(self) -> None:
        here, hidden, final = self._directory, self.name, self._file_name
        try:
            # Unlike a rename it replaces nothing.
            os.link(hidden, final, src_dir_fd=here, dst_dir_fd=here)
        except FileExistsError:
            there = volume.look_up(here, final)
            # A network's file system may repeat a call whose answer was lost.
            if not (there and self._identity and os.path.samestat(there, self._identity)):
                raise _taken(there) from None
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if (there := volume.look_up(here, final)) is not None:
                raise _taken(there) from None
            os.rename(hidden, final, src_dir_fd=here, dst_dir_fd=here)


def _taken(there: os.stat_result | None) -> Failure:
    if there is not None and stat.S_ISDIR(there.st_mode):
        return storage_failure(OSError(errno.EISDIR, "a directory has the file's name"))
    return TakenOverFailure()


def write_all(file: int, data: bytes | memoryview) -> None:
    """Writes all of `data` to the descriptor.  Raises OSError."""
    left = memoryview(data)
    while left:
        left = left[os.write(file, left) :]


def remove_stale_partials(directory: int, job_id: str, until: float = math.inf) -> list[str] | None:
    """Removes what attempts of this export left in the directory; returns the names.

    Removes nothing and returns None if the directory was listed after `until`, a `seconds_now()`.
    """
    with volume_errors():
        listed = os.listdir(directory)
    if seconds_now() > until:
        return None
    stale = [name for name in listed if job_id in (_of_partial(name) or "")]
    return [name for name in stale if remove_file(directory, name)]


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
