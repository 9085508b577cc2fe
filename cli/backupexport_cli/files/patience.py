"""How often a download that is cut off is gone on with, and when another connection helps; pure."""

PAUSES = (0.1, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds before each new try without a byte since."""
# By how much one more connection must speed it up to be kept.
_WORTH = 1.15


class Patience:
    """Counts the cuts since bytes came last."""

    def __init__(self) -> None:
        """No cut so far."""
        self._cuts = 0

    def progressed(self) -> None:
        """Bytes came."""
        self._cuts = 0

    def pause(self) -> float | None:
        """Return the seconds before the next try after a cut, None where it is to be given up."""
        if self._cuts >= len(PAUSES):
            return None
        self._cuts += 1
        return PAUSES[self._cuts - 1]


class Ramp:
    """Decides how many connections there are: one more for as long as each makes it faster."""

    def __init__(self, most: int) -> None:
        """`most` connections, at first one."""
        self.count = 1
        self._most = most
        self._best = 0.0
        self._is_settled = most == 1

    def measured(self, rate: float) -> int:
        """Take in the bytes a second of the newest while; return how many connections to have."""
        if self._is_settled:
            return self.count
        if rate <= self._best * _WORTH:
            # What the last one brought was not worth it: the way there is full.
            return self.refused()
        self._best = rate
        if self.count == self._most:
            self._is_settled = True
        else:
            self.count += 1
        return self.count

    def refused(self) -> int:
        """Take in that one more is of no use, or not allowed; return how many to have."""
        self._is_settled = True
        self.count = max(1, self.count - 1)
        return self.count
