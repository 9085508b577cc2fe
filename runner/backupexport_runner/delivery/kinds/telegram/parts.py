"""Cuts the file into documents that a Bot API server takes, and reads them."""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from backupexport_runner.storage.failures import file_changed
from backupexport_runner.storage.interface import Reader

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


def checksums(
    file: Reader, parts: Sequence[Part], check: Callable[[], None]
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

    def __init__(self, file: Reader, part: Part, check: Callable[[], None]) -> None:
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
        piece = self._file.read_at(self._part.offset + self._position, wanted)
        if wanted and not piece:
            raise file_changed()
        self._position += len(piece)
        self._hash.update(piece)
        return piece
