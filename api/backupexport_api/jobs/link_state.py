"""Which links to a job's file are taken back, as annotations of the BackupExport say.

Each change is a merge patch that needs nothing of what other replicas write at the same time.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from backupexport_contract import names

# Taking back one more takes back all.
MOST_TAKEN_BACK = 100

LINK_ID = "[0-9a-f]{16}"
_ANNOTATION = re.compile(f"{re.escape(names.ANNOTATION_LINK_TAKEN_BACK)}({LINK_ID})")


@dataclass(frozen=True, slots=True)
class LinkState:
    """What is said of all links, and of single ones."""

    generation: str = ""
    """Any text: a link is good only with the one that it was made with."""
    taken_back: frozenset[str] = frozenset()
    """The ids of single links that are good no more."""

    @classmethod
    def of(cls, annotations: Mapping[str, str]) -> Self:
        """Read a BackupExport's annotations."""
        found = map(_ANNOTATION.fullmatch, annotations)
        taken_back = frozenset(match[1] for match in found if match)
        return cls(annotations.get(names.ANNOTATION_LINKS_GENERATION, ""), taken_back)

    def without(self, link_id: str | None, next_generation: str) -> dict[str, str | None]:
        """Return the annotations to merge to take back one link, or all where `link_id` is None."""
        if link_id is not None and len(self.taken_back) < MOST_TAKEN_BACK:
            return {names.ANNOTATION_LINK_TAKEN_BACK + link_id: ""}
        # Those that were taken back singly are of an older generation now.
        gone = (names.ANNOTATION_LINK_TAKEN_BACK + link for link in sorted(self.taken_back))
        return {names.ANNOTATION_LINKS_GENERATION: next_generation, **dict.fromkeys(gone)}
