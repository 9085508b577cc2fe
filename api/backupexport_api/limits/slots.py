"""How many streams and downloads there may be at once: each holds memory until it is done."""

from collections import Counter
from dataclasses import dataclass
from typing import Literal

TakeResult = Literal["taken", "owner_full", "full"]
"""Whether a slot was taken, or why not: the owner has as many as it may, or all are taken."""


@dataclass(frozen=True, slots=True)
class SlotOwner:
    """Whose slots are taken."""

    name: str
    """A sub; of a link the project."""
    is_link: bool = False


class Slots:
    """`most` slots in all, `most_each` for each owner, and fewer than all for links together."""

    def __init__(self, most: int, most_each: int) -> None:
        self.most_each = most_each
        self._most = most
        # Whoever may export has as many links, and files to link to, as they care to make.
        self._most_by_links = most_by_links(most, most_each)
        self._taken: Counter[SlotOwner] = Counter()

    @property
    def taken(self) -> int:
        """How many slots are taken."""
        return self._taken.total()

    def take(self, owner: SlotOwner) -> TakeResult:
        """Take a slot if there is one; `release` it."""
        by_links = sum(count for other, count in self._taken.items() if other.is_link)
        if owner.is_link and by_links >= self._most_by_links:
            return "full"
        # get: counting must not leave a zero for everybody who was ever refused.
        if self._taken.get(owner, 0) >= self.most_each:
            return "owner_full"
        if self.taken >= self._most:
            return "full"
        self._taken[owner] += 1
        return "taken"

    def release(self, owner: SlotOwner) -> None:
        """Give a slot back."""
        self._taken[owner] -= 1
        if not self._taken[owner]:
            del self._taken[owner]


def most_by_links(most: int, most_each: int) -> int:
    """Return how many of `most` slots links may have: they leave a caller's share, or half."""
    return most - min(most_each, most // 2)
