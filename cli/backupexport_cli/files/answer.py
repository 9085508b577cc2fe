"""What the head of an answer says of the bytes that follow; pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.files.segments import Span, read_content_range
from backupexport_cli.files.wanted import WantedFile


class ChangedError(Exception):
    """The server has another file now: what is there of it is of no use."""


@dataclass(frozen=True, slots=True)
class Part:
    """The bytes that an answer brings, and the tag of the file that they are of."""

    span: Span
    etag: str | None


def read_answer(
    status: int, headers: Mapping[str, str], wanted: WantedFile, start: int, etag: str | None
) -> Part:
    """Return what comes; it may begin before `start` where the server sends no ranges.

    `headers` finds names however they are spelled.  Raises ChangedError, and CliError for a file
    of another size or an answer that is none.
    """
    if status in (412, 416):
        raise ChangedError
    if headers.get("Content-Encoding", "identity") != "identity":
        raise _nonsense("it sends the file in another encoding")
    found = headers.get("ETag")
    # Only a strong one says that the bytes are the same (RFC 9110, 8.8.1).
    new_etag = found if found and found.startswith('"') and len(found) <= 300 else None
    is_changed = etag is not None and new_etag is not None and new_etag != etag
    if status == 206:
        content_range = read_content_range(headers.get("Content-Range", ""))
        if content_range is None:
            raise _nonsense("it sends a part without saying which")
        span, size = content_range
        if span.start != start:
            raise _nonsense("it sends another part than it was asked for")
    elif status == 200:
        size = _length(headers, wanted.size)
        span = Span(0, size)
    else:
        raise _nonsense(f"it answers with status {status}")
    if size != wanted.size and status == 200 and (new_etag is None or is_changed):
        # As a network's login page: what has come of the file is as good as it was.
        raise _nonsense(f"it sends {size} bytes in place of the {wanted.size} of the file")
    if is_changed:
        raise ChangedError
    if size != wanted.size:
        raise CliError(
            ExitCode.CORRUPT,
            f"The server has a file of {size} bytes, and the export has {wanted.size}.",
            "Ask for a new export, and tell the server's administrators.",
        )
    return Part(span, new_etag)


def _length(headers: Mapping[str, str], unknown: int) -> int:
    value = headers.get("Content-Length", "")
    return int(value) if value.isascii() and value.isdecimal() and len(value) < 20 else unknown


def _nonsense(what: str) -> CliError:
    return CliError(
        ExitCode.UNREACHABLE,
        f"The server does not send the file as it should: {what}.",
        "Check whether a proxy answers in its place.",
    )
