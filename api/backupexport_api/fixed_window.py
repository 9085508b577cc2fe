"""Counting in fixed windows, in this process alone.

The limits library's memory starts a thread every ten milliseconds while there are requests, and
those threads take a fifth of the time that a poll may cost.
"""

import time
from dataclasses import dataclass


@dataclass(slots=True)
class _Window:
    ends_at: float
    count: int = 0


class FixedWindow:
    """At most `amount` hits of each key in `seconds`; not for several threads."""

    def __init__(self, amount: int, seconds: int) -> None:
        self._amount = amount
        self._seconds = seconds
        self._windows: dict[str, _Window] = {}
        self._most_windows = 1000

    def hit(self, key: str) -> tuple[bool, int, float]:
        """Count one; whether it was too many, how many are left, when the window ends."""
        now = time.time()
        window = self._windows.get(key)
        if window is None or window.ends_at <= now:
            window = self._windows[key] = _Window(now + self._seconds)
            self._forget(now)
        window.count += 1
        return window.count > self._amount, max(0, self._amount - window.count), window.ends_at

    def _forget(self, now: float) -> None:
        """Drop windows that are over, seldom enough to cost nothing."""
        if len(self._windows) > self._most_windows:
            self._windows = {
                key: window for key, window in self._windows.items() if window.ends_at > now
            }
            self._most_windows = max(1000, 2 * len(self._windows))
