"""How many there may be at once of what holds memory for as long as its client reads."""

from collections import Counter
from typing import Literal

Taken = Literal["taken", "caller_full", "full"]
"""Whether a place was taken, or which places have run out."""


class CallerSlots:
    """Places, in all and of each caller."""

    def __init__(self, most: int, most_each: int) -> None:
        self.most_each = most_each
        self._most = most
        self._taken: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        """How many places are taken."""
        return self._taken.total()

    def take(self, caller: str) -> Taken:
        """Take a place, if there is one; `release` it."""
        # get: counting must not leave a zero for everybody who was ever refused.
        if self._taken.get(caller, 0) >= self.most_each:
            return "caller_full"
        if self.taken >= self._most:
            return "full"
        self._taken[caller] += 1
        return "taken"

    def release(self, caller: str) -> None:
        """Give a place back."""
        self._taken[caller] -= 1
        if not self._taken[caller]:
            del self._taken[caller]
