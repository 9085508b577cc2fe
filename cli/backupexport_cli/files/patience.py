"""How often a download that is cut off is gone on with, and when another connection helps; pure."""

_PAUSES = (0.1, 0.5, 1.0, 2.0, 4.0, 8.0)
# By how much one more connection must speed it up to be kept.
_WORTH = 1.15


class Patience:
    """Counts the cuts since bytes came last."""

    def __init__(self, pauses: tuple[float, ...] = _PAUSES) -> None:
        """`pauses` are the seconds before each new try."""
        self._pauses = pauses
        self._cuts = 0

    def progressed(self) -> None:
        """Bytes came."""
        self._cuts = 0

    def pause(self) -> float | None:
        """Return the seconds before the next try after a cut, None where it is to be given up."""
        if self._cuts >= len(self._pauses):
            return None
        self._cuts += 1
        return self._pauses[self._cuts - 1]


class Ramp:
    """Decides how many connections there are: one more for as long as each makes it faster."""

    def __init__(self, most: int) -> None:
        """`most` connections, at first one."""
        self.count = 1
        self._most = most
        self._best = 0.0

    def measured(self, rate: float) -> int:
        """Take in the bytes a second of the newest while; return how many connections to have."""
        if self.count < self._most and rate > self._best * _WORTH:
            self.count += 1
        elif self.count > 1 and rate <= self._best * _WORTH:
            # What the last one brought was not worth it: the way there is full.
            self._most = self.count = self.count - 1
        self._best = max(self._best, rate)
        return self.count

    def refused(self) -> int:
        """Take in that the server allows no more; return how many connections to have."""
        self._most = self.count = max(1, self.count - 1)
        return self.count
