"""Which bytes of a file are there, who fetches which others; no I/O.

Spans are half open: the byte at `end` is not in it.
"""

import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass

_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19})")


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """The bytes from `start` to `end`."""

    start: int
    end: int

    def __len__(self) -> int:
        return self.end - self.start


def merged(spans: Iterable[Span]) -> list[Span]:
    """Return the same bytes in as few spans as there can be, in order."""
    result: list[Span] = []
    for span in sorted(spans):
        if result and span.start <= result[-1].end:
            result[-1] = Span(result[-1].start, max(result[-1].end, span.end))
        else:
            result.append(span)
    return result


def gaps(spans: Iterable[Span], size: int) -> list[Span]:
    """Return what of a file of `size` bytes is in none of the spans, in order."""
    result, position = [], 0
    for span in merged(spans):
        if span.start > position:
            result.append(Span(position, span.start))
        position = span.end
    if position < size:
        result.append(Span(position, size))
    return result


def read_content_range(value: str) -> tuple[Span, int] | None:
    """Return the span of an answer's Content-Range and the whole file's size; None for any other.

    A size that the server doesn't tell (`*`) is none, too: whose part it is could not be seen.
    """
    found = _CONTENT_RANGE.fullmatch(value)
    if found is None:
        return None
    first, last, size = map(int, found.groups())
    return (Span(first, last + 1), size) if first <= last < size else None


class Claim:
    """A span that one connection fetches; `position` is how far it has come."""

    def __init__(self, span: Span) -> None:
        self.start = span.start
        self.position = span.start
        self.end = span.end

    @property
    def left(self) -> int:
        """How many bytes are still to come; others may have taken some of them over."""
        return max(0, self.end - self.position)


class Plan:
    """The bytes of one file, and who fetches which; for any number of threads.

    With one connection a claim goes to the end of its gap.  With several, each has a piece of
    `segment_bytes` near the beginning of what is missing, so that the bytes without a gap, which
    are those whose checksum is known, are never far behind.
    """

    def __init__(self, size: int, finished: Iterable[Span], segment_bytes: int) -> None:
        self.size = size
        self._finished = merged(finished)
        self._segment_bytes = segment_bytes
        self._claims: list[Claim] = []
        self._lock = threading.Lock()

    def claim(self, *, shared: bool) -> Claim | None:
        """Return what to fetch next, None where others have all of it; `shared`: with others."""
        with self._lock:
            missing = gaps([*self._finished, *map(_claimed, self._claims)], self.size)
            if missing:
                chosen = missing[0]
            elif (taken := self._taken_over()) is not None:
                chosen = taken
            else:
                return None
            if shared:
                chosen = Span(chosen.start, min(chosen.end, chosen.start + self._segment_bytes))
            claim = Claim(chosen)
            self._claims.append(claim)
            return claim

    def _taken_over(self) -> Span | None:
        """Return what is taken from another connection that has more than two pieces to go."""
        longest = max(self._claims, key=lambda claim: claim.left, default=None)
        if longest is None or longest.left <= 2 * self._segment_bytes:
            return None
        old_end, longest.end = longest.end, longest.position + self._segment_bytes
        return Span(longest.end, old_end)

    def advance(self, claim: Claim, count: int) -> None:
        """Take `count` more bytes of a claim as fetched."""
        with self._lock:
            claim.position += count

    def extend(self, claim: Claim, answer_end: int) -> bool:
        """Let a claim that is through go on into what nobody has, as far as its answer goes."""
        with self._lock:
            taken = [*self._finished, *(_claimed(one) for one in self._claims)]
            following = next(
                (gap for gap in gaps(taken, self.size) if gap.start == claim.end < answer_end), None
            )
            if following is None:
                return False
            claim.end = min(following.end, answer_end, claim.end + self._segment_bytes)
            return True

    def release(self, claim: Claim) -> None:
        """Keep what a claim has fetched, and leave the rest to whoever is next."""
        with self._lock:
            self._claims.remove(claim)
            self._finished = merged([*self._finished, *_fetched(claim)])

    def restart(self) -> None:
        """Forget all that was fetched; nobody may have a claim."""
        with self._lock:
            self._finished = []

    @property
    def finished(self) -> list[Span]:
        """What has been fetched, in order."""
        with self._lock:
            return merged([*self._finished, *(s for one in self._claims for s in _fetched(one))])

    @property
    def fetched_bytes(self) -> int:
        """How many bytes have been fetched."""
        return sum(map(len, self.finished))

    @property
    def frontier(self) -> int:
        """The first byte that is missing."""
        first = next(iter(self.finished), Span(0, 0))
        return first.end if first.start == 0 else 0

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing."""
        return self.frontier == self.size


def _claimed(claim: Claim) -> Span:
    return Span(claim.start, claim.end)


def _fetched(claim: Claim) -> list[Span]:
    return [Span(claim.start, claim.position)] if claim.position > claim.start else []
