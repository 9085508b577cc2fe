"""What a token says of itself, read without a key: for a person to see, never to decide by."""

import base64
import binascii
import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

_LONGEST = 64 * 1024


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims that people ask for; None is what the token doesn't say."""

    subject: str | None = None
    issuer: str | None = None
    audiences: tuple[str, ...] = ()
    projects: tuple[str, ...] | None = None
    expires: datetime | None = None


def claims_of(token: str, projects_claim: str = "projects") -> Claims | None:
    """Return what the token says; None where it is no JWT."""
    parts = token.split(".")
    # RFC 7515: three parts, and the first one's `alg` makes it a JWS.
    if len(token) > _LONGEST or len(parts) != 3 or not parts[2]:
        return None
    header, claims = _object(parts[0]), _object(parts[1])
    if header is None or claims is None or not isinstance(header.get("alg"), str):
        return None
    audience = claims.get("aud")
    return Claims(
        _text(claims.get("sub")),
        _text(claims.get("iss")),
        (audience,) if isinstance(audience, str) else _texts(audience) or (),
        ("*",) if claims.get(projects_claim) == "*" else _texts(claims.get(projects_claim)),
        _moment(claims.get("exp")),
    )


def _object(part: str) -> dict[str, Any] | None:
    try:
        raw = base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
        found = json.loads(raw)
    except (ValueError, binascii.Error, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _texts(value: Any) -> tuple[str, ...] | None:
    if not isinstance(value, list):
        return None
    return tuple(item for item in value if isinstance(item, str))


def _moment(value: Any) -> datetime | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    try:
        return datetime.fromtimestamp(value, UTC)
    except (OverflowError, OSError, ValueError):
        return None
