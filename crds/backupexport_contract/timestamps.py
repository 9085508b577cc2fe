"""Times as users see them: UTC with milliseconds, `2026-01-29T15:30:00.000Z` (RFC 3339)."""

from datetime import UTC, datetime


def to_text(moment: datetime) -> str:
    """RFC 3339 text in UTC with exactly three decimals."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def from_text(text: str) -> datetime:
    """The moment in UTC that RFC 3339 text names; ValueError where it names none."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"a time without a zone: {text!r}")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        # Year 1 or 9999 with an offset: a time there, and none in UTC.
        raise ValueError(f"a time out of range: {text!r}") from None


def now() -> datetime:
    """The present moment in UTC."""
    return datetime.now(UTC)
