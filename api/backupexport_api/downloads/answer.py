"""Decides what a download is answered, without the file: status, headers and which bytes."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from backupexport_api.downloads import byte_ranges, preconditions, problems
from backupexport_api.downloads.byte_ranges import ByteRange, UnsatisfiableError
from backupexport_api.downloads.preconditions import Validators
from backupexport_api.jobs.finished_file import FinishedFile

Headers = Mapping[str, str]
Piece = bytes | ByteRange


@dataclass(frozen=True, slots=True)
class DownloadAnswer:
    """A 200, 206 or 304."""

    status: int
    headers: dict[str, str]
    pieces: tuple[Piece, ...] = ()
    """The body in order: bytes as they are, and ranges of the file."""


def answer(method: str, headers: Headers, file: FinishedFile, boundary: str) -> DownloadAnswer:
    """Return what to answer; raises ProblemError (412, 416).

    `headers`: the request's, with lower-case names, values joined by commas (RFC 9110, 5.3).
    `boundary`: what stands between several parts.
    """
    validators = Validators(f'"{file.sha256.hex()}"', datetime.fromtimestamp(file.completed_s, UTC))
    lasting = {
        "ETag": validators.etag,
        "Last-Modified": validators.last_modified,
        # A proxy that compresses would take the length, the strong ETag and so resuming.
        "Cache-Control": "private, no-store, no-transform",
        "Accept-Ranges": "bytes",
        # A proxy that buffers would take all at once, and hide a client that takes nothing.
        "X-Accel-Buffering": "no",
    }
    result = preconditions.evaluate(headers, validators)
    if result == "failed":
        raise problems.precondition_failed()
    if result == "not_modified":
        return DownloadAnswer(304, lasting)
    described = lasting | {
        "Content-Disposition": f'attachment; filename="{file.name}"',
        # Of the whole file, with a part of it, too (RFC 9530, 3).
        "Repr-Digest": f"sha-256=:{base64.b64encode(file.sha256).decode()}:",
    }
    ranges = _ranges(method, headers, file, validators)
    if not ranges:
        whole = (ByteRange(0, file.size),) if file.size else ()
        return _sent(200, described, file.media_type, whole)
    if len(ranges) == 1:
        content_range = {"Content-Range": ranges[0].content_range(file.size)}
        return _sent(206, described | content_range, file.media_type, (ranges[0],))
    media_type = f"multipart/byteranges; boundary={boundary}"
    return _sent(206, described, media_type, _parts(ranges, file, boundary))


def _ranges(
    method: str, headers: Headers, file: FinishedFile, validators: Validators
) -> list[ByteRange]:
    # Range means nothing with any other method (RFC 9110, 14.2).
    if method != "GET" or "range" not in headers:
        return []
    if not preconditions.range_counts(headers.get("if-range"), validators):
        return []
    try:
        return byte_ranges.requested(headers["range"], file.size)
    except UnsatisfiableError:
        raise problems.range_not_satisfiable(file.size) from None


def _parts(ranges: list[ByteRange], file: FinishedFile, boundary: str) -> tuple[Piece, ...]:
    pieces: list[Piece] = []
    start = f"--{boundary}\r\n"
    for one in ranges:
        head = (
            f"{start}Content-Type: {file.media_type}\r\n"
            f"Content-Range: {one.content_range(file.size)}\r\n\r\n"
        )
        pieces += [head.encode(), one]
        start = f"\r\n--{boundary}\r\n"
    return (*pieces, f"\r\n--{boundary}--\r\n".encode())


def _sent(
    status: int, described: dict[str, str], media_type: str, pieces: tuple[Piece, ...]
) -> DownloadAnswer:
    length = sum(len(piece) for piece in pieces)
    headers = described | {"Content-Type": media_type, "Content-Length": str(length)}
    return DownloadAnswer(status, headers, pieces)
