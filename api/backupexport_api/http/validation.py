"""Reads a request's body as strict JSON, and says what is wrong in words that repeat no value."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect

from backupexport_api.http import problems
from backupexport_api.http.problems import FieldError, ProblemError, problem

Body = TypeVar("Body", bound=BaseModel)

MAX_BODY_BYTES = 16 * 1024

# A body within its limit can have thousands of unknown fields.
_MOST_ERRORS = 20
_FIELD_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")

# pydantic's error type -> our code and message, which may need one fact of ours from pydantic's
# context; types that are not here come from the rules and bring their own.
_MESSAGES = {
    "missing": ("required", "is required"),
    "extra_forbidden": ("unknown_field", "is not a known field"),
    "string_type": ("not_a_string", "must be a string"),
    "bool_type": ("not_a_boolean", "must be true or false, without quotes"),
    "int_type": ("not_an_integer", "must be a whole number"),
    "int_parsing": ("not_an_integer", "must be a whole number"),
    "int_parsing_size": ("not_an_integer", "must be a whole number"),
    "string_pattern_mismatch": ("not_allowed", "must be visible ASCII characters"),
    "string_too_short": ("not_allowed", "must not be empty"),
    "model_type": ("malformed_body", "must be a JSON object"),
    "string_unicode": ("not_unicode", "must be Unicode text"),
    "literal_error": ("not_allowed", "must be {expected}"),
    "greater_than_equal": ("too_small", "must be at least {ge}"),
    "less_than_equal": ("too_large", "must be at most {le}"),
    "string_too_long": ("too_long", "must not be longer than {max_length} characters"),
}

_too_large = problem(
    413,
    "body_too_large",
    f"The body must not be larger than {MAX_BODY_BYTES} bytes.",
    # What is left of the body is never read, so the connection is of no more use.
    headers={"Connection": "close"},
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
        raise problems.malformed_body("ended too early") from None
    return bytes(body)


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
        raise problems.malformed_body("must be UTF-8") from None
    except json.JSONDecodeError as error:
        raise problems.malformed_body(
            f"is not valid JSON (line {error.lineno}, column {error.colno})"
        ) from None
    except RecursionError:
        raise problems.malformed_body("is nested too deep") from None
    except ValueError:
        # An integer with more digits than Python converts.
        raise problems.malformed_body("holds a number that is too long") from None


def field_errors(items: Sequence[Mapping[str, Any]]) -> list[FieldError]:
    """Return the first errors of a ValidationError; a `loc` starts with the field, or is empty."""
    found = []
    for item in items[:_MOST_ERRORS]:
        kind = item["type"]
        code, message = _MESSAGES.get(kind, (kind, item["msg"]))
        if kind in _MESSAGES:
            message = message.format_map(item.get("ctx", {}))
        found.append(FieldError(field=_field_name(item["loc"]), message=message, code=code))
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise problems.malformed_body("has a key twice in one object")
    return result


def _no_constant(name: str) -> NoReturn:
    raise problems.malformed_body(f"must not hold {name.removeprefix('-')}")


def _field_name(location: Iterable[int | str]) -> str:
    # An unknown field's name is the client's text, and returned only where it looks like a name.
    name = next((str(part) for part in location), "body")
    return name if _FIELD_NAME.fullmatch(name) else "(unknown field)"
