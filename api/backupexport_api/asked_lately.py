"""What was asked a moment ago, and need not be asked again yet."""

import time


class AskedLately:
    """Remembers each key for `seconds`."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        # The oldest first.
        self._until: dict[str, float] = {}

    def __contains__(self, key: str) -> bool:
        """Whether `add` was called with it lately."""
        return self._until.get(key, 0.0) > time.monotonic()

    def add(self, key: str) -> None:
        """Remember that it was asked now."""
        now = time.monotonic()
        while self._until and self._until[oldest := next(iter(self._until))] <= now:
            del self._until[oldest]
        self._until.pop(key, None)
        self._until[key] = now + self._seconds
