"""Notices a watch that has stopped without an error, by comparing it with lists.

A watch is always a little late, so one difference proves nothing.  A watch has stopped if it still
misses, at a later comparison, a version of an object that it missed at an earlier one, and tells
nothing at all.  What goes while a watch lists anew, after a 410 say, kopf never tells: that is no
sign of a stopped watch, and `compare` returns it instead.
"""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from backupexport_operator.observed.export_cache import Index

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
        self._told_at: dict[str, float] = {}
        self._incomplete = set(kinds)

    def told(self, kind: str) -> None:
        """The watch has told something."""
        self._told_at[kind] = self._clock()

    def compare(self, kind: str, listed: Mapping[str, int], known: Mapping[str, int]) -> set[str]:
        """Compare a list with what the watch had told once the list was read.

        Both map an object's uid or name to its resourceVersion, or to 0 if only presence counts.
        Returns what the watch still knows though this list and an earlier one didn't have it.
        """
        now = self._clock()
        before = self._missed.get(kind)
        missed: dict[str, _Missed] = {}
        late: list[float] = []
        gone: set[str] = set()
        for uid in listed.keys() | known.keys():
            version = known.get(uid, _UNKNOWN)
            wanted = listed.get(uid, _DELETED)
            earlier = (before or {}).get(uid)
            if version >= wanted:
                continue
            if earlier is not None and wanted == earlier.version == _DELETED:
                gone.add(uid)
            elif earlier is not None and version < earlier.version:
                missed[uid] = earlier
                late.append(now - earlier.since)
            else:
                missed[uid] = _Missed(wanted, now)
        self._missed[kind] = missed
        self._late[kind] = max(late, default=0.0)
        if not missed or (before is not None and not late):
            self._incomplete.discard(kind)
        return gone

    def dead(self, limit: float) -> list[str]:
        """Returns the kinds whose watch missed something, and told nothing, for `limit` seconds."""
        heard_after = self._clock() - limit
        return sorted(
            kind
            for kind, late in self._late.items()
            if late >= limit and self._told_at.get(kind, -math.inf) <= heard_after
        )

    def lateness(self) -> dict[str, float]:
        """Returns, by kind, for how many seconds its watch had missed something."""
        return dict(self._late)

    @property
    def complete(self) -> bool:
        """Whether the watch of each kind has once told of all that a list had."""
        return not self._incomplete


Value = TypeVar("Value")


@dataclass
class Present(Mapping[str, Collection[Value]], Generic[Value]):
    """A kopf index without what is gone, though kopf has not heard of that."""

    index: Index[Value]
    identity: Callable[[Value], str]
    _gone: set[str] = field(default_factory=set, init=False)

    def hide(self, gone: set[str]) -> list[tuple[str, Value]]:
        """Show these no more.  Returns those that were shown, with their keys."""
        hidden = [
            (key, value)
            for key, found in self.items()
            for value in found
            if self.identity(value) in gone
        ]
        self._gone |= gone
        return hidden

    def __getitem__(self, key: str) -> Collection[Value]:
        """Returns the values of `key`; KeyError where all of them are gone."""
        found = self.index[key]
        if not self._gone:
            return found
        shown = [it for it in found if self.identity(it) not in self._gone]
        if not shown:
            raise KeyError(key)
        return shown

    def __iter__(self) -> Iterator[str]:
        """Yields the keys that have values."""
        keys = self.index.keys()
        return iter([key for key in keys if key in self] if self._gone else keys)

    def __len__(self) -> int:
        """Returns how many keys have values."""
        return sum(1 for _ in self)
