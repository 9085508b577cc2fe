"""What a token's claims must be, beyond what PyJWT asks of them."""

from collections.abc import Mapping
from typing import Any

# It becomes an annotation and a line of the log; a ServiceAccount's or a SPIFFE id is shorter.
LONGEST_SUBJECT = 1024

# The last second of the year 9999: later is no time but a mistake, or an attack.
_LAST_TIME = 253_402_300_799


class BadClaimsError(ValueError):
    """Why the claims are refused, in words of ours."""


def subject_of(claims: Mapping[str, Any]) -> str:
    """Who the token speaks for."""
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


def expiry_of(claims: Mapping[str, Any]) -> float:
    """When the token expires; the other times are checked to be times, too.

    PyJWT takes whatever int() does: text, and numbers of any size.
    """
    for name in ("exp", "nbf", "iat"):
        if name in claims and not _is_time(claims[name]):
            raise BadClaimsError(f"its {name} is not a time")
    return float(claims["exp"])


def _is_time(value: Any) -> bool:
    # Not a number compares as false with everything.
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _LAST_TIME
    )
