"""Which projects a token is good for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

EVERY_PROJECT = "*"


class MalformedClaimError(ValueError):
    """The claim is there but is not a list of project ids: better no access than too much."""


@dataclass(frozen=True, slots=True)
class ProjectAccess:
    """The projects that a caller may export and see."""

    every_project: bool = False
    project_ids: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls, claims: Mapping[str, Any], claim: str, without_claim: Literal["all", "none"]
    ) -> Self:
        """What a token's `claims` grant; MalformedClaimError where they make no sense."""
        if claim not in claims:
            return cls(every_project=without_claim == "all")
        granted = claims[claim]
        if granted == EVERY_PROJECT:
            return cls(every_project=True)
        if not isinstance(granted, list) or not all(isinstance(item, str) for item in granted):
            raise MalformedClaimError("its projects claim is not a list of project ids")
        return cls(EVERY_PROJECT in granted, frozenset(granted))

    def allows(self, project_id: str) -> bool:
        """Whether the caller may export and see `project_id`."""
        return self.every_project or project_id in self.project_ids
