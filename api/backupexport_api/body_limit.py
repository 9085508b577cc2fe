"""Reading a body without ever holding more of it than allowed."""

from fastapi import Request
from starlette.requests import ClientDisconnect

from backupexport_api import problems
from backupexport_api.problems import ProblemError

MAX_BODY_BYTES = 16 * 1024


async def limited_body(request: Request) -> bytes:
    """Read the body; ProblemError (413) as soon as it is known to be larger than 16 KiB."""
    declared = request.headers.get("Content-Length", "0")
    # int() refuses thousands of digits.
    if len(declared) > 9 or int(declared) > MAX_BODY_BYTES:
        raise _too_large()
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                raise _too_large()
    except ClientDisconnect:
        raise problems.malformed_body("ended too early") from None
    return bytes(body)


def _too_large() -> ProblemError:
    return ProblemError(
        413,
        "body_too_large",
        f"The body must not be larger than {MAX_BODY_BYTES} bytes.",
        # What is left of the body is never read, so the connection is of no more use.
        headers={"Connection": "close"},
    )
