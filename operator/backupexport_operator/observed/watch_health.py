"""Notices a watch that has stopped without an error, by comparing it with lists.

A watch is always a little late, so one difference proves nothing.  A watch has stopped if it still
misses, at a later comparison, a version of an object that it missed at an earlier one.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

# The version of an object that the list no longer has: newer than any that is known.
_DELETED = math.inf
_UNKNOWN = -1


@dataclass(frozen=True)
class _Missed:
    version: float
    since: float


class WatchHealth:
    """What the watches of one term of leading have missed, by kind."""

    def __init__(self, kinds: Iterable[str], clock: Callable[[], float]) -> None:
        self._clock = clock
        self._missed: dict[str, dict[str, _Missed]] = {}
        self._late: dict[str, float] = {}
        self._incomplete = set(kinds)

    def compare(self, kind: str, listed: Mapping[str, int], known: Mapping[str, int]) -> None:
        """Compare a list with what the watch had told once the list was read.

        Both map an object's uid or name to its resourceVersion, or to 0 if only presence counts.
        """
        now = self._clock()
        before = self._missed.get(kind)
        missed: dict[str, _Missed] = {}
        late: list[float] = []
        for uid in listed.keys() | known.keys():
            version = known.get(uid, _UNKNOWN)
            wanted = listed.get(uid, _DELETED)
            earlier = (before or {}).get(uid)
            if version >= wanted:
                continue
            if earlier is not None and version < earlier.version:
                missed[uid] = earlier
                late.append(now - earlier.since)
            else:
                missed[uid] = _Missed(wanted, now)
        self._missed[kind] = missed
        self._late[kind] = max(late, default=0.0)
        if not missed or (before is not None and not late):
            self._incomplete.discard(kind)

    def dead(self, limit: float) -> list[str]:
        """Returns the kinds whose watch had missed something for `limit` seconds or more."""
        return sorted(kind for kind, late in self._late.items() if late >= limit)

    def lateness(self) -> dict[str, float]:
        """Returns, by kind, for how many seconds its watch had missed something."""
        return dict(self._late)

    @property
    def complete(self) -> bool:
        """Whether the watch of each kind has once told of all that a list had."""
        return not self._incomplete
