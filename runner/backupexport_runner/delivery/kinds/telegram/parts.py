"""How a file is cut into documents that a Bot API server takes."""

import contextlib
import errno
import hashlib
import io
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from backupexport_contract.reasons import ExitCode
from backupexport_contract.runner_protocol import Artifact
from backupexport_runtime import volume
from backupexport_runtime.volume import NotTheFileError

from backupexport_runner.task.failure import Failure

# Telegram lets a bot send some twenty messages a minute to a group: more are hours, and a chat
# in which nobody finds them.
MOST_PARTS = 1000
# A shell sorts `NAME.part*of003` by its text, so all numbers have one width.
_SHORTEST_NUMBER = 3


@dataclass(frozen=True, slots=True)
class Part:
    """The bytes of the file from `offset` on, `size` of them; `number` counts from one."""

    number: int
    name: str
    offset: int
    size: int


def plan_parts(file_name: str, size: int, part_bytes: int) -> tuple[Part, ...]:
    """The whole file under its own name where it fits, else numbered parts of it."""
    if size <= part_bytes:
        return (Part(1, file_name, 0, size),)
    count = part_count(size, part_bytes)
    return tuple(
        Part(
            number,
            _part_name(file_name, f"{number:0{_width(count)}}", count),
            offset,
            min(part_bytes, size - offset),
        )
        for number, offset in enumerate(range(0, size, part_bytes), start=1)
    )


def parts_glob(file_name: str, count: int) -> str:
    """What a shell finds the parts by, and none of another plan's, nor a second copy of one."""
    return _part_name(file_name, "*", count)


def _part_name(file_name: str, number: str, count: int) -> str:
    return f"{file_name}.part{number}of{count:0{_width(count)}}"


def _width(count: int) -> int:
    return max(_SHORTEST_NUMBER, len(str(count)))


def part_count(size: int, part_bytes: int) -> int:
    """How many documents it takes."""
    return max(1, -(-size // part_bytes))


# A link, a socket, a device.
_SOMETHING_ELSE = (errno.ELOOP, errno.ENXIO, errno.ENODEV)
_PIECE = 256 * 1024


class FileChangedFailure(Failure):
    """What is on the volume is not what was exported; else FILE_MISSING is no more than that."""


@contextlib.contextmanager
def opened_artifact(directory: int, file_name: str, artifact: Artifact) -> Iterator[int]:
    """A descriptor of the one file of this name and size, or Failure(FILE_MISSING)."""
    with _volume_errors():
        try:
            file = volume.open_file_in(directory, file_name, artifact.size_bytes)
        except NotTheFileError:
            raise file_changed() from None
        except OSError as error:
            if error.errno == errno.ENOENT:
                raise file_missing() from None
            if error.errno in _SOMETHING_ELSE:
                raise file_changed() from None
            raise
    try:
        yield file
    finally:
        os.close(file)


def checksums(
    file: int, parts: Sequence[Part], check: Callable[[], None]
) -> tuple[tuple[str, ...], str]:
    """The SHA-256 of each part, and that of the whole, in one pass."""
    whole = hashlib.sha256()
    of_parts = []
    for part in parts:
        view = PartView(file, part, check)
        while piece := view.read(_PIECE):
            whole.update(piece)
        of_parts.append(view.sha256)
    return tuple(of_parts), whole.hexdigest()


class PartView(io.RawIOBase):
    """A part as a file of its own, which knows the checksum of what has been read of it.

    `check` is called before every piece.  Failure where the file has become shorter.
    """

    def __init__(self, file: int, part: Part, check: Callable[[], None]) -> None:
        super().__init__()
        self._file = file
        self._part = part
        self._check = check
        self._position = 0
        self._hash = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """In hex, once all has been read from the beginning."""
        return self._hash.hexdigest()

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """The position in the part."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a position; only a reading from the beginning makes a checksum."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._part.size}
        self._position = start[whence] + offset
        if self._position == 0:
            self._hash = hashlib.sha256()
        return self._position

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes."""
        self._check()
        left = self._part.size - self._position
        wanted = left if size < 0 else min(size, left)
        with _volume_errors():
            piece = os.pread(self._file, wanted, self._part.offset + self._position)
        if wanted and not piece:
            raise file_changed()
        self._position += len(piece)
        self._hash.update(piece)
        return piece


def file_missing() -> Failure:
    """The verdict where there is no such file."""
    return Failure(
        ExitCode.FILE_MISSING,
        "The export's file is not on the volume any more: start the export again.",
    )


def file_changed() -> FileChangedFailure:
    """The verdict where there is another one."""
    return FileChangedFailure(
        ExitCode.FILE_MISSING,
        "What is on the volume under the file's name is not what was exported, its size, checksum "
        "or names differ: find out who changed it, and start the export again.",
    )


def file_unreadable(error: OSError) -> Failure:
    """The verdict where the volume can't tell: the export may be as good as it was."""
    system = os.strerror(error.errno) if error.errno else type(error).__name__
    return Failure(
        ExitCode.DELIVERY_DEFERRED,
        f"The export's file can't be read: check the export volume's storage ({system}).",
    )


@contextlib.contextmanager
def _volume_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise file_unreadable(error) from error
