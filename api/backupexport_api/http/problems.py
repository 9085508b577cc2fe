"""Errors as clients see them, `application/problem+json` (RFC 9457), and what answers them."""

import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import Any

from backupexport_contract.kubernetes_model import FrozenModel
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from backupexport_api.http.security_headers import FOR_ANSWER

MEDIA_TYPE = "application/problem+json"

# Seconds: an API server restarts its watch cache in that time, and a person waits so long.
_RETRY = {"Retry-After": "5"}
_HEADERS = {429: _RETRY, 503: _RETRY}

# HTTPStatus spells these differently from one Python version to the next.
_TITLES = {413: "Content Too Large"}

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

_CODES_AND_DETAILS = {
    404: ("not_found", "There is nothing at this path."),
    405: ("method_not_allowed", "This path has other methods: see Allow."),
}

_log = logging.getLogger(__name__)


class FieldError(FrozenModel):
    """One field that breaks a rule; the rejected value is never repeated."""

    field: str
    """The field's name, or `body` for the body as a whole."""
    message: str
    """What the value must be."""
    code: str
    """The same in one stable word, for programs."""


class Problem(FrozenModel):
    """An error."""

    type: str = "about:blank"
    """Always about:blank: `code` tells problems apart."""
    title: str
    """The status in words."""
    status: int
    """The HTTP status code."""
    detail: str
    """What went wrong, and what to do about it."""
    code: str
    """The same in one stable word, for programs."""
    request_id: str
    """The request's X-Request-ID: the log has more under it."""
    errors: list[FieldError] | None = None
    """The fields that break a rule; only with status 400."""


@dataclass(eq=False)
class ProblemError(Exception):
    """Ends a request with a problem; a handler answers it, and logs `why` if given."""

    status: int
    code: str
    detail: str
    headers: dict[str, str] = field(default_factory=dict, kw_only=True)
    errors: list[FieldError] | None = field(default=None, kw_only=True)
    why: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__init__(self.why or f"{self.status} {self.code}")
        # Caches may keep 404, 410 and 501 unless they are told (RFC 9110, 15.1).
        self.headers = FOR_ANSWER | _HEADERS.get(self.status, {}) | self.headers

    def response(self, request_id: str) -> Response:
        """Make the answer to the request of this id."""
        problem = Problem(
            title=title_of(self.status),
            status=self.status,
            detail=self.detail,
            code=self.code,
            request_id=request_id,
            errors=self.errors,
        )
        body = problem.model_dump_json(exclude_none=True)
        return Response(body, self.status, self.headers, MEDIA_TYPE)


def title_of(status: int) -> str:
    """Return the status in words."""
    return _TITLES.get(status) or HTTPStatus(status).phrase


def invalid_request(errors: list[FieldError]) -> ProblemError:
    """Return the 400 for a request that breaks rules."""
    detail = "The request is not valid: see errors."
    return ProblemError(400, "invalid_request", detail, errors=errors)


def invalid_field(name: str, code: str, message: str) -> ProblemError:
    """Return the 400 for a request with one field that breaks a rule."""
    return invalid_request([FieldError(field=name, message=message, code=code)])


def problem(status: int, code: str, detail: str, **headers: str) -> partial[ProblemError]:
    """Return a maker of this problem: each error to raise has to be a new one."""
    return partial(ProblemError, status, code, detail, headers=headers)


# Content-Length and Transfer-Encoding: a proxy in front may have believed the other one.
ambiguous_length = problem(
    400,
    "ambiguous_length",
    "Send Content-Length or Transfer-Encoding, not both.",
    Connection="close",
)
# A bug of ours, of which a client learns only where to look it up.
internal_error = problem(
    500, "internal_error", "Something is wrong here. The log has more under the request_id."
)


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


def _field_name(location: Iterable[int | str]) -> str:
    # An unknown field's name is the client's text, and returned only where it looks like a name.
    name = next((str(part) for part in location), "body")
    return name if _FIELD_NAME.fullmatch(name) else "(unknown field)"


async def _problem(request: Request, error: Any) -> Response:
    if error.why is not None:
        _log.warning("answering %d: %s", error.status, error.why)
    response: Response = error.response(request.state.request_id)
    return response


async def _validation(request: Request, error: Any) -> Response:
    # FastAPI puts the part of the request in front: query, header, path.
    items = [item | {"loc": item["loc"][1:]} for item in error.errors()]
    return await _problem(request, invalid_request(field_errors(items)))


async def _http(request: Request, error: Any) -> Response:
    status = error.status_code
    unnamed = ("http_error", title_of(status))
    code, detail = _CODES_AND_DETAILS.get(status, unnamed)
    headers = dict(error.headers or {})
    return await _problem(request, ProblemError(status, code, detail, headers=headers))


HANDLERS: dict[int | type[Exception], Callable[..., Any]] = {
    ProblemError: _problem,
    RequestValidationError: _validation,
    HTTPException: _http,
}
"""Of an app; RequestContextMiddleware answers 500 to what they leave."""
