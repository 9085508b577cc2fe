"""How long something is not to be tried again, where only this process knows why."""

import time
from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class Pauses(Generic[Key]):
    """Keys and the end of their pauses; a restart forgets them, which only costs a try."""

    def __init__(self) -> None:
        self._ends: dict[Key, float] = {}

    def begin(self, key: Key, seconds: float) -> None:
        """Pause from now on."""
        self._ends[key] = time.monotonic() + seconds

    def left(self, key: Key) -> float:
        """The seconds that are left, 0 where there is no pause."""
        left = self._ends.get(key, 0.0) - time.monotonic()
        if left <= 0:
            self._ends.pop(key, None)
        return max(left, 0.0)

    def forget(self, key: Key) -> None:
        """End the pause."""
        self._ends.pop(key, None)


class DeliverySlots:
    """Who delivers and who waits for that, of one kind; `limit` is for all projects."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._holders: dict[str, str] = {}
        self._waiting: dict[str, str] = {}

    def take(self, uid: str, project_id: str) -> bool:
        """Whether the export may deliver now; else it is told of by `leave` when it may."""
        if uid in self._holders:
            return True
        if not self._has_room(project_id):
            self._waiting[uid] = project_id
            return False
        self.hold(uid, project_id)
        return True

    def hold(self, uid: str, project_id: str) -> None:
        """The export delivers already, as is found out after a restart."""
        self._waiting.pop(uid, None)
        self._holders[uid] = project_id

    def leave(self, uid: str) -> str | None:
        """The export delivers no more, for now or for good; the uid of who may do so instead.

        Also where it had no slot: it may have been woken to take one that it doesn't need any more.
        """
        self._waiting.pop(uid, None)
        self._holders.pop(uid, None)
        for waiting, project_id in self._waiting.items():
            if self._has_room(project_id):
                return waiting
        return None

    def _has_room(self, project_id: str) -> bool:
        return len(self._holders) < self._limit and project_id not in self._holders.values()
