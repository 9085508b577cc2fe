"""Whether a client has an answer already, by the ETag that it came with (RFC 9110, 13.1.2)."""

from fastapi import Request


def has_already(request: Request, etag: str) -> bool:
    """Return whether If-None-Match names `etag`, which is in quotes, or anything."""
    known = request.headers.get("If-None-Match", "").split(",")
    return not {"*", etag}.isdisjoint(item.strip().removeprefix("W/") for item in known)
