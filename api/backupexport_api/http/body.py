"""Reads a request's body as JSON, and never more of it than 16 KiB."""

import re
from typing import TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect

from backupexport_api.http import problems
from backupexport_api.http.problems import ProblemError, problem
from backupexport_api.http.validation import MalformedJsonError, field_errors, strict_json

Body = TypeVar("Body", bound=BaseModel)

MAX_BODY_BYTES = 16 * 1024


async def read_json(request: Request, model: type[Body], *, default: Body | None = None) -> Body:
    """Read the body as `model`, `default` if it is empty; raises ProblemError (400, 413, 415)."""
    if default is None:
        _require_json(request)
    body = await limited_body(request)
    if default is not None:
        if not body:
            return default
        _require_json(request)
    try:
        return model.model_validate(strict_json(body))
    except MalformedJsonError as error:
        raise problems.malformed_body(str(error)) from None
    except ValidationError as error:
        raise problems.invalid_request(
            field_errors(error.errors(include_url=False, include_input=False))
        ) from None


async def limited_body(request: Request) -> bytes:
    """Read the body; raises ProblemError (413) as soon as it is known to be too large."""
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


_too_large = problem(
    413,
    "body_too_large",
    f"The body must not be larger than {MAX_BODY_BYTES} bytes.",
    # What is left of the body is never read, so the connection is of no more use.
    headers={"Connection": "close"},
)


def _require_json(request: Request) -> None:
    media_type = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if not re.fullmatch(r"application/(.*\+)?json", media_type):
        raise ProblemError(
            415, "not_json", "Send the body as JSON: Content-Type: application/json."
        )
