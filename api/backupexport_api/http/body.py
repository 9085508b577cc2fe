"""Reads a request's body as strict JSON; what is wrong with it is said without its values."""

import json
import re
from typing import Any, NoReturn, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect

from backupexport_api.http import problems
from backupexport_api.http.problems import ProblemError, field_errors, problem

Body = TypeVar("Body", bound=BaseModel)

MAX_BODY_BYTES = 16 * 1024

_too_large = problem(
    413,
    "body_too_large",
    f"The body must not be larger than {MAX_BODY_BYTES} bytes.",
    # What is left of the body is never read, so the connection is of no more use.
    Connection="close",
)


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
    except ValidationError as error:
        items = error.errors(include_url=False, include_input=False)
        raise problems.invalid_request(field_errors(items)) from None


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
        raise _malformed("ended too early") from None
    return bytes(body)


def _malformed(message: str) -> ProblemError:
    return problems.invalid_field("body", "malformed_body", message)


def _require_json(request: Request) -> None:
    media_type = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if not re.fullmatch(r"application/(.*\+)?json", media_type):
        detail = "Send the body as JSON: Content-Type: application/json."
        raise ProblemError(415, "not_json", detail)


def strict_json(body: bytes) -> Any:
    """Parse `body`; raises ProblemError (400) where two readers could understand it differently."""
    try:
        text = body.decode("utf-8")
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise _malformed("must be UTF-8") from None
    except json.JSONDecodeError as error:
        raise _malformed(f"is not valid JSON (line {error.lineno}, column {error.colno})") from None
    except RecursionError:
        raise _malformed("is nested too deep") from None
    except ValueError:
        # An integer with more digits than Python converts.
        raise _malformed("holds a number that is too long") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise _malformed("has a key twice in one object")
    return result


def _no_constant(name: str) -> NoReturn:
    raise _malformed(f"must not hold {name.removeprefix('-')}")
