"""How many there may be at once of what holds memory for as long as its client reads."""

from collections import Counter
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class SlotOwner:
    """Whose places a download takes."""

    owner: str
    """A sub; of a link the project."""
    is_link: bool

    @property
    def key(self) -> str:
        """Its name among all, whatever subs and projects are called."""
        return f"{'links' if self.is_link else 'sub'} {self.owner}"


def most_by_links(most: int, most_each: int) -> int:
    """How many of `most` all links together may have: what leaves a caller its share, or half."""
    return most - min(most_each, most // 2)


class DownloadSlots:
    """The places of one replica."""

    def __init__(self, most: int, most_each: int) -> None:
        self.most_each = most_each
        self._slots = CallerSlots(most, most_each)
        # Whoever may export has as many links, and files to link to, as they care to make.
        self._most_by_links = most_by_links(most, most_each)
        self._taken_by_links = 0

    def take(self, owner: SlotOwner) -> Taken:
        """Take a place, if there is one; `release` it."""
        if owner.is_link and self._taken_by_links >= self._most_by_links:
            return "full"
        taken = self._slots.take(owner.key)
        if taken == "taken":
            self._taken_by_links += owner.is_link
        return taken

    def release(self, owner: SlotOwner) -> None:
        """Give a place back."""
        self._slots.release(owner.key)
        self._taken_by_links -= owner.is_link
