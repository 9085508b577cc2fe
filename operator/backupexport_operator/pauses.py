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
