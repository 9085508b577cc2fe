"""When to tell how far the dump is, and how far that is in percent."""

from backupexport_contract.runner_protocol import Progress

_SECONDS_BETWEEN = 1.0
# The estimate may be too low: 100 is for a file that is whole.
_MOST_BEFORE_THE_END = 99


class ProgressMeter:
    """Turns byte counts into progress, at most once a second; percent never goes back."""

    def __init__(self, estimated_bytes: int, now: float) -> None:
        self._estimated = estimated_bytes
        self._told_at = now
        self._percent = 0

    def update(self, dumped_bytes: int, now: float) -> Progress | None:
        """The progress to tell at `now` (seconds of a monotonic clock), or None: too early."""
        if now - self._told_at < _SECONDS_BETWEEN:
            return None
        self._told_at = now
        if self._estimated > 0:
            percent = min(_MOST_BEFORE_THE_END, dumped_bytes * 100 // self._estimated)
            self._percent = max(self._percent, percent)
        return Progress(self._percent, dumped_bytes, self._estimated)

    def complete(self, dumped_bytes: int) -> Progress:
        """The last progress, for a file that is whole under its final name."""
        return Progress(100, dumped_bytes, self._estimated)
