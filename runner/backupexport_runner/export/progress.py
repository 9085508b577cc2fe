"""How far the dump is, in percent, and how often that is logged."""

from backupexport_contract.runner_protocol import Progress

_SECONDS_BETWEEN = 1.0
# The estimate may be too low: 100 is for a complete file.
_MOST_BEFORE_THE_END = 99


class ProgressMeter:
    """Turns byte counts into progress, at most once a second; the percentage never falls."""

    def __init__(self, estimated_bytes: int, now: float) -> None:
        self._estimated = estimated_bytes
        self._told_at = now
        self._percent = 0

    def begin(self) -> Progress:
        """Returns the first progress, of a dump that begins."""
        return Progress(0, 0, self._estimated)

    def update(self, dumped_bytes: int, now: float) -> Progress | None:
        """Returns the progress at `now` (seconds of a monotonic clock); None if it is too early."""
        if now - self._told_at < _SECONDS_BETWEEN:
            return None
        self._told_at = now
        if self._estimated > 0:
            percent = min(_MOST_BEFORE_THE_END, dumped_bytes * 100 // self._estimated)
            self._percent = max(self._percent, percent)
        return Progress(self._percent, dumped_bytes, self._estimated)

    def complete(self, dumped_bytes: int) -> Progress:
        """Returns the last progress, of a file that is complete under its final name."""
        return Progress(100, dumped_bytes, self._estimated)
