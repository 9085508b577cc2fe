"""How many streams and downloads there may be at once: each holds memory until its client is done.

Slots are counted in all and for each caller; downloads by links also together.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Literal

TakeResult = Literal["taken", "caller_full", "full"]
"""Whether a slot was taken, or why not: the caller has as many as it may, or all are taken."""


class CallerSlots:
    """`most` slots in all, and `most_each` for each caller."""

    def __init__(self, most: int, most_each: int) -> None:
        self.most_each = most_each
        self._most = most
        self._taken: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        """How many slots are taken."""
        return self._taken.total()

    def take(self, caller: str) -> TakeResult:
        """Take a slot if there is one; `release` it."""
        # get: counting must not leave a zero for everybody who was ever refused.
        if self._taken.get(caller, 0) >= self.most_each:
            return "caller_full"
        if self.taken >= self._most:
            return "full"
        self._taken[caller] += 1
        return "taken"

    def release(self, caller: str) -> None:
        """Give a slot back."""
        self._taken[caller] -= 1
        if not self._taken[caller]:
            del self._taken[caller]


@dataclass(frozen=True, slots=True)
class SlotOwner:
    """Whose slots a download takes."""

    name: str
    """A sub; of a link the project."""
    is_link: bool

    @property
    def key(self) -> str:
        """A name of its own among subs and projects, whatever those are called."""
        return f"{'links' if self.is_link else 'sub'} {self.name}"


class DownloadSlots:
    """The slots of one replica for downloads."""

    def __init__(self, most: int, most_each: int) -> None:
        self.most_each = most_each
        self._slots = CallerSlots(most, most_each)
        # Whoever may export has as many links, and files to link to, as they care to make.
        self._most_by_links = most_by_links(most, most_each)
        self._taken_by_links = 0

    def take(self, owner: SlotOwner) -> TakeResult:
        """Take a slot if there is one; `release` it."""
        if owner.is_link and self._taken_by_links >= self._most_by_links:
            return "full"
        result = self._slots.take(owner.key)
        if result == "taken":
            self._taken_by_links += owner.is_link
        return result

    def release(self, owner: SlotOwner) -> None:
        """Give a slot back."""
        self._slots.release(owner.key)
        self._taken_by_links -= owner.is_link


def most_by_links(most: int, most_each: int) -> int:
    """Return how many of `most` slots links may have: they leave a caller's share, or half."""
    return most - min(most_each, most // 2)
