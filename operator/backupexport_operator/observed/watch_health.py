"""Notices a watch that silently stopped, by what the API server's lists have and it has not.

A watch is always a little late, so one difference says nothing.  What says it all is the same
object at the same or an older version, missed at one comparison and still missed at a later one.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

# Of an object that the list no longer has: whatever version is still known is too old.
_DELETED = math.inf
_UNKNOWN = -1


@dataclass(frozen=True)
class _Missed:
    version: float
    since: float


class WatchHealth:
    """What one run of the watches has missed, kind by kind."""

    def __init__(self, kinds: Iterable[str], clock: Callable[[], float]) -> None:
        self._clock = clock
        self._missed: dict[str, dict[str, _Missed]] = {}
        self._late: dict[str, float] = {}
        self._incomplete = set(kinds)

    def compare(self, kind: str, listed: Mapping[str, int], known: Mapping[str, int]) -> None:
        """Take in a fresh list, and what the watch had told of the kind after it was read.

        Both map a uid to the object's resourceVersion, or to 0 where versions aren't kept.
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
        """The kinds whose watch had missed something for `limit` seconds when last compared."""
        return sorted(kind for kind, late in self._late.items() if late >= limit)

    def lateness(self) -> dict[str, float]:
        """For each kind, for how many seconds its watch had missed something."""
        return dict(self._late)

    @property
    def complete(self) -> bool:
        """Whether each of the kinds has once shown all that a list had."""
        return not self._incomplete
