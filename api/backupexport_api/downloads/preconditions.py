"""Evaluates a request's conditions (RFC 9110, 13) on a file that never changes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Literal

ConditionResult = Literal["send", "not_modified", "failed"]

_ETAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
# A receiver has to bear empty elements (RFC 9110, 5.6.1.2).
_ELEMENT = rf"[ \t]*(?:{_ETAG}[ \t]*)?"
_ETAGS = re.compile(f"{_ELEMENT}(?:,{_ELEMENT})*")


@dataclass(frozen=True, slots=True)
class Validators:
    """A file's validators."""

    etag: str
    """A strong one, in quotes."""
    modified: datetime

    @property
    def last_modified(self) -> str:
        """The value of Last-Modified."""
        return format_datetime(self.modified.astimezone(UTC), usegmt=True)


def evaluate(headers: Mapping[str, str], validators: Validators) -> ConditionResult:
    """Return what a GET or HEAD with these (lower-case names, each once) gets: RFC 9110, 13.2.2."""
    if (if_match := headers.get("if-match")) is not None:
        if not _lists(if_match, validators.etag, weak=False):
            return "failed"
    elif (since := _date(headers.get("if-unmodified-since"))) and validators.modified > since:
        return "failed"
    if (if_none_match := headers.get("if-none-match")) is not None:
        if _lists(if_none_match, validators.etag, weak=True):
            return "not_modified"
    elif (since := _date(headers.get("if-modified-since"))) and validators.modified <= since:
        return "not_modified"
    return "send"


def range_counts(if_range: str | None, validators: Validators) -> bool:
    """Return whether Range counts: the part that the client has is of this file."""
    if if_range is None:
        return True
    return if_range.strip(" \t") in (validators.etag, validators.last_modified)


def _lists(header: str, etag: str, *, weak: bool) -> bool:
    """Return whether a list of entity tags has `etag`; False for anything but such a list."""
    if header.strip(" \t") == "*":
        return True
    listed = re.findall(_ETAG, header) if _ETAGS.fullmatch(header) else []
    return etag in listed or (weak and f"W/{etag}" in listed)


def _date(text: str | None) -> datetime | None:
    """Return an HTTP date; None for what is none, which is to be ignored."""
    if text is None:
        return None
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    # An HTTP date is always in UTC.
    return date.replace(tzinfo=UTC) if date.tzinfo is None else date
