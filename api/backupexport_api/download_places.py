"""How many downloads there may be at once, so that links leave places to those with a token."""

from dataclasses import dataclass

from backupexport_api.caller_slots import CallerSlots, Taken


@dataclass(frozen=True, slots=True)
class Share:
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


class DownloadPlaces:
    """The places of one replica."""

    def __init__(self, most: int, most_each: int) -> None:
        self.most_each = most_each
        self._slots = CallerSlots(most, most_each)
        # Whoever may export has as many links, and files to link to, as they care to make.
        self._most_by_links = most_by_links(most, most_each)
        self._taken_by_links = 0

    def take(self, share: Share) -> Taken:
        """Take a place, if there is one; `release` it."""
        if share.is_link and self._taken_by_links >= self._most_by_links:
            return "full"
        taken = self._slots.take(share.key)
        if taken == "taken":
            self._taken_by_links += share.is_link
        return taken

    def release(self, share: Share) -> None:
        """Give a place back."""
        self._slots.release(share.key)
        self._taken_by_links -= share.is_link
