"""What a token's claims say: who calls, until when, and for which projects."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

EVERY_PROJECT = "*"
"""In the claim with the projects: all of them."""

# It becomes an annotation and a line of the log; a ServiceAccount's or a SPIFFE id is shorter.
LONGEST_SUBJECT = 1024

# The last second of the year 9999: later is no time but a mistake, or an attack.
_LAST_TIME = 253_402_300_799


class BadClaimsError(ValueError):
    """The claims are refused; the text says why, without any of theirs."""


def subject_of(claims: Mapping[str, Any]) -> str:
    """Return who the token speaks for; raises BadClaimsError."""
    subject = claims["sub"]
    if not isinstance(subject, str):
        raise BadClaimsError("its sub is not text")
    if not subject.strip():
        raise BadClaimsError("its sub is empty")
    # JSON can spell lone surrogates, and UTF-8 can't.
    if any("\ud800" <= character <= "\udfff" for character in subject):
        raise BadClaimsError("its sub is not text")
    if len(subject) > LONGEST_SUBJECT:
        raise BadClaimsError(f"its sub is longer than {LONGEST_SUBJECT} characters")
    return subject


def text_of(claims: Mapping[str, Any], name: str) -> str | None:
    """Return a claim that nothing depends on; None where it is no text."""
    value = claims.get(name)
    return value if isinstance(value, str) else None


def expiry_of(claims: Mapping[str, Any]) -> float:
    """Return when the token expires, in seconds since 1970; raises BadClaimsError."""
    # The other times are checked, too: PyJWT takes whatever int() does, of any size.
    for name in ("exp", "nbf", "iat"):
        if name in claims and not _is_time(claims[name]):
            raise BadClaimsError(f"its {name} is not a time")
    return float(claims["exp"])


@dataclass(frozen=True, slots=True)
class ProjectAccess:
    """The projects that a caller may export and see."""

    every_project: bool = False
    project_ids: frozenset[str] = frozenset()

    @classmethod
    def of(cls, claims: Mapping[str, Any], name: str, without: Literal["all", "none"]) -> Self:
        """Return what the claim `name` grants; raises BadClaimsError where it is no list of ids."""
        # Better no access than too much.
        if name not in claims:
            return cls(every_project=without == "all")
        granted = claims[name]
        if granted == EVERY_PROJECT:
            return cls(every_project=True)
        if not isinstance(granted, list) or not all(isinstance(item, str) for item in granted):
            raise BadClaimsError("its projects claim is not a list of project ids")
        return cls(EVERY_PROJECT in granted, frozenset(granted))

    def allows(self, project_id: str) -> bool:
        """Return whether the caller may export and see `project_id`."""
        return self.every_project or project_id in self.project_ids


def _is_time(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    # Not a number compares as false with everything.
    return is_number and 0 <= value <= _LAST_TIME
