"""Cuts the file into documents that a Bot API server takes, and reads them."""

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from backupexport_contract.reasons import ExitCode
from backupexport_contract.runner_protocol import Artifact
from backupexport_runtime import volume
from backupexport_runtime.volume import NotTheFileError

from backupexport_runner.task.failure import Failure
from backupexport_runner.volume.failures import system_words, volume_errors

# Telegram lets a bot send some twenty messages a minute to a group: more parts take hours, and
# nobody finds them in the chat.
MOST_PARTS = 1000
# A shell sorts `NAME.part*of003` by its text, so all numbers have one width.
_SHORTEST_NUMBER = 3
_PIECE_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Part:
    """The bytes of the file from `offset` on, `size` of them; `number` counts from one."""

    number: int
    name: str
    offset: int
    size: int


def plan_parts(file_name: str, size: int, part_bytes: int) -> tuple[Part, ...]:
    """Returns the whole file under its own name if it fits, else numbered parts of it."""
    if size <= part_bytes:
        return (Part(1, file_name, 0, size),)
    count = part_count(size, part_bytes)
    return tuple(
        Part(number, _part_name(file_name, number, count), offset, min(part_bytes, size - offset))
        for number, offset in enumerate(range(0, size, part_bytes), start=1)
    )


def parts_glob(file_name: str, count: int) -> str:
    """Returns a shell's pattern for these parts, but not for those of another number of parts."""
    return _part_name(file_name, None, count)


def _part_name(file_name: str, number: int | None, count: int) -> str:
    width = max(_SHORTEST_NUMBER, len(str(count)))
    which = "*" if number is None else f"{number:0{width}}"
    return f"{file_name}.part{which}of{count:0{width}}"


def part_count(size: int, part_bytes: int) -> int:
    """Returns how many documents the file takes."""
    return max(1, -(-size // part_bytes))


class FileChangedFailure(Failure):
    """FILE_MISSING, because what is on the volume is not what was exported."""


@contextlib.contextmanager
def opened_artifact(directory: int, file_name: str, artifact: Artifact) -> Iterator[int]:
    """Yields a descriptor of the file with this name and size.  Raises Failure."""
    try:
        file = volume.open_file_in(directory, file_name, artifact.size_bytes)
    except NotTheFileError:
        raise file_changed() from None
    except FileNotFoundError:
        raise file_missing() from None
    except OSError as error:
        raise (file_changed() if volume.is_missing(error) else file_unreadable(error)) from None
    try:
        yield file
    finally:
        os.close(file)


def checksums(
    file: int, parts: Sequence[Part], check: Callable[[], None]
) -> tuple[tuple[str, ...], str]:
    """Returns the SHA-256 (hex) of each part, and that of the whole file, in one pass."""
    whole = hashlib.sha256()
    of_parts = []
    for part in parts:
        view = PartView(file, part, check)
        while piece := view.read(_PIECE_BYTES):
            whole.update(piece)
        of_parts.append(view.sha256)
    return tuple(of_parts), whole.hexdigest()


class PartView:
    """A part, with what httpx needs of a file; it hashes what is read.

    `check` is called before every piece.  Raises Failure if the file has become shorter.
    """

    def __init__(self, file: int, part: Part, check: Callable[[], None]) -> None:
        self._file = file
        self._part = part
        self._check = check
        self._position = 0
        self._hash = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """The checksum in hex, once all has been read from the beginning."""
        return self._hash.hexdigest()

    def tell(self) -> int:
        """Returns the position in the part."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Goes to a position; the checksum begins anew at the beginning."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._part.size}
        self._position = start[whence] + offset
        if self._position == 0:
            self._hash = hashlib.sha256()
        return self._position

    def read(self, size: int = -1, /) -> bytes:
        """Returns at most `size` bytes."""
        self._check()
        left = self._part.size - self._position
        wanted = left if size < 0 else min(size, left)
        with volume_errors(file_unreadable):
            piece = os.pread(self._file, wanted, self._part.offset + self._position)
        if wanted and not piece:
            raise file_changed()
        self._position += len(piece)
        self._hash.update(piece)
        return piece


file_missing = partial(
    Failure,
    ExitCode.FILE_MISSING,
    "The export's file is not on the volume any more: start the export again.",
)
# Another file is in its place.
file_changed = partial(
    FileChangedFailure,
    ExitCode.FILE_MISSING,
    "What is on the volume under the file's name is not what was exported, its size, checksum "
    "or names differ: find out who changed it, and start the export again.",
)


def file_unreadable(error: OSError) -> Failure:
    """Returns the failure for a volume that fails: the export may be as good as it was."""
    return Failure(
        ExitCode.DELIVERY_DEFERRED,
        f"The export's file can't be read: check the export volume's storage "
        f"({system_words(error)}).",
    )
