"""Which bytes a Range header asks for (RFC 9110, 14)."""

import re
from dataclasses import dataclass

# A client that asks for more is broken or hostile (RFC 9110, 14.2): it gets the whole file.
MOST_RANGES = 20
# Larger than any file; no number of more digits is ever converted.
_FAR = 10**18
_RANGES = re.compile(r"[ \t]*bytes=(?P<set>[-0-9, \t]*)", re.IGNORECASE)
_RANGE = re.compile(r"(?P<first>[0-9]*)-(?P<last>[0-9]*)")


@dataclass(frozen=True, slots=True)
class ByteRange:
    """The bytes from `start` up to, not including, `end`; never empty."""

    start: int
    end: int

    def __len__(self) -> int:
        return self.end - self.start

    def content_range(self, size: int) -> str:
        """Return the value of Content-Range for a file of `size` bytes."""
        return f"bytes {self.start}-{self.end - 1}/{size}"


class UnsatisfiableError(Exception):
    """No range has a byte of the file in it."""


def requested(header: str, size: int) -> list[ByteRange]:
    """Return the ranges of a file of `size` bytes that `header` asks for, in its order, joined.

    None where the header is to be ignored.  Raises UnsatisfiableError where all miss the file.
    """
    match = _RANGES.fullmatch(header)
    # A sender must not make empty elements, and a receiver has to bear a few (RFC 9110, 5.6.1.2).
    elements = [part.strip(" \t") for part in match["set"].split(",")] if match else []
    asked = [_bounds(element, size) for element in elements if element]
    bounds = [found for found in asked if found is not None]
    if not bounds or len(bounds) < len(asked) or len(elements) > MOST_RANGES:
        return []
    satisfiable = [ByteRange(start, end) for start, end in bounds if start < end]
    if not satisfiable:
        raise UnsatisfiableError
    return _joined(satisfiable)


def _bounds(element: str, size: int) -> tuple[int, int] | None:
    """Return a range's start and end, start >= end where it misses the file; None if malformed."""
    match = _RANGE.fullmatch(element)
    if match is None:
        return None
    first, last = _number(match["first"]), _number(match["last"])
    if first is None:
        return None if last is None else (max(0, size - last), size)
    if last is None:
        return first, size
    return None if last < first else (first, min(last + 1, size))


def _number(digits: str) -> int | None:
    if not digits:
        return None
    stripped = digits.lstrip("0")
    return _FAR if len(stripped) > 18 else int(stripped or "0")


def _joined(ranges: list[ByteRange]) -> list[ByteRange]:
    """Join ranges that overlap or adjoin, each at its first place: no byte is sent twice."""
    joined: list[ByteRange] = []
    for one in ranges:
        current, place = one, len(joined)
        for other in list(joined):
            if other.start <= current.end and current.start <= other.end:
                place = min(place, joined.index(other))
                joined.remove(other)
                current = ByteRange(min(current.start, other.start), max(current.end, other.end))
        joined.insert(place, current)
    return joined
