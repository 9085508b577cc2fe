"""What an attempt at a delivery leaves for the next one: a small JSON file beside the artifact.

It is replaced as a whole, so a process that dies at any step leaves the old notes or the new ones.
"""

import contextlib
import errno
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from backupexport_contract.reasons import ExitCode

from backupexport_runner.task.failure import Failure
from backupexport_runner.volume.artifact import remove_file
from backupexport_runner.volume.failures import storage_failure


def delivery_journal_name(file_name: str, kind: str) -> str:
    """The hidden name, beside the artifact, of what a kind of delivery notes about it."""
    return f"{_journal_prefix(file_name)}{kind}"


def _journal_prefix(file_name: str) -> str:
    return f".{file_name}.deliver-"


def remove_delivery_journals(directory: int, file_name: str) -> list[str]:
    """Remove what deliveries of every kind noted about the artifact; their names."""
    prefix = _journal_prefix(file_name)
    try:
        left = [name for name in os.listdir(directory) if name.startswith(prefix)]
    except OSError as error:
        raise storage_failure(error) from error
    return [name for name in left if remove_file(directory, name)]


_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_MODE = 0o640
_LARGEST = 1024 * 1024
# No file, or what opening a link, a socket, a device or a directory ends with.
_NO_FILE = (errno.ENOENT, errno.ELOOP, errno.ENXIO, errno.ENODEV, errno.EISDIR)


@dataclass(frozen=True, slots=True)
class NotesFile:
    """One delivery's notes of one artifact; `directory` is a descriptor that must stay open.

    Failure(DELIVERY_DEFERRED) where the volume fails.
    """

    directory: int
    name: str

    def read(self) -> dict[str, Any] | None:
        """The notes, None where there are none or what is there is no such file.

        A volume that can't tell is neither: who took it for no notes would overwrite good ones.
        """
        with _volume_errors():
            try:
                file = os.open(self.name, _READ, dir_fd=self.directory)
            except OSError as error:
                if error.errno in _NO_FILE:
                    return None
                raise
            with os.fdopen(file, "rb") as stream:
                if not stat.S_ISREG(os.fstat(file).st_mode):
                    return None
                content = stream.read(_LARGEST)
        try:
            notes = json.loads(content)
        except (ValueError, RecursionError):
            return None
        return notes if isinstance(notes, dict) else None

    def begin(self, notes: dict[str, Any]) -> None:
        """Write the first notes, and make sure that there is room for another copy beside them.

        Each later `write` needs it, when it is too late to refuse.
        """
        self.write(notes)
        self.write(notes)

    def write(self, notes: dict[str, Any]) -> None:
        """Replace the notes; the disk has them when this returns."""
        new = f"{self.name}.new"
        data = json.dumps(notes).encode()
        with _volume_errors():
            with contextlib.suppress(FileNotFoundError):
                os.unlink(new, dir_fd=self.directory)
            file = os.open(new, _CREATE, _FILE_MODE, dir_fd=self.directory)
            try:
                left = memoryview(data)
                while left:
                    left = left[os.write(file, left) :]
                os.fsync(file)
            finally:
                os.close(file)
            os.rename(new, self.name, src_dir_fd=self.directory, dst_dir_fd=self.directory)
            os.fsync(self.directory)

    def remove(self) -> None:
        """Have the next attempt begin anew."""
        with _volume_errors():
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.name, dir_fd=self.directory)
            os.fsync(self.directory)


@contextlib.contextmanager
def _volume_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        system = os.strerror(error.errno) if error.errno else type(error).__name__
        raise Failure(
            ExitCode.DELIVERY_DEFERRED,
            "The delivery's notes on the export volume can't be read or written, and without them "
            "things might be sent twice: check the volume, make it writable or free space "
            f"({system}).",
        ) from error
