"""Errors as clients see them, `application/problem+json` (RFC 9457), and those of any route."""

from collections.abc import Sequence
from functools import partial
from http import HTTPStatus

from backupexport_contract.kubernetes_model import FrozenModel
from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"

# Seconds: an API server restarts its watch cache in that time, and a person waits so long.
_RETRY = {"Retry-After": "5"}
_HEADERS = {429: _RETRY, 503: _RETRY}

# HTTPStatus spells these differently from one Python version to the next.
_TITLES = {413: "Content Too Large"}


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


class ProblemError(Exception):
    """Ends a request with a problem; `problem_handlers` answers it, and logs `why` if given."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        headers: dict[str, str] | None = None,
        errors: Sequence[FieldError] = (),
        why: str | None = None,
    ) -> None:
        super().__init__(why or f"{status} {code}")
        self.why = why
        self.status = status
        self.code = code
        self.detail = detail
        # Caches may keep 404, 410 and 501 unless they are told (RFC 9110, 15.1).
        self.headers = {"Cache-Control": "no-store"} | _HEADERS.get(status, {}) | (headers or {})
        self.errors = list(errors)

    def response(self, request_id: str) -> Response:
        """Make the answer to the request of this id."""
        problem = Problem(
            title=title_of(self.status),
            status=self.status,
            detail=self.detail,
            code=self.code,
            request_id=request_id,
            errors=self.errors or None,
        )
        return Response(
            problem.model_dump_json(exclude_none=True),
            status_code=self.status,
            headers=self.headers,
            media_type=MEDIA_TYPE,
        )


def title_of(status: int) -> str:
    """Return the status in words."""
    return _TITLES.get(status) or HTTPStatus(status).phrase


def invalid_request(errors: Sequence[FieldError]) -> ProblemError:
    """Return the 400 for a request that breaks rules."""
    detail = "The request is not valid: see errors."
    return ProblemError(400, "invalid_request", detail, errors=errors)


def malformed_body(message: str) -> ProblemError:
    """Return the 400 for a body that is no JSON object; `message` says what it must be."""
    return invalid_request([FieldError(field="body", message=message, code="malformed_body")])


def problem(
    status: int, code: str, detail: str, headers: dict[str, str] | None = None
) -> partial[ProblemError]:
    """Return a maker of this problem: each error to raise has to be a new one."""
    return partial(ProblemError, status, code, detail, headers=headers)


# Content-Length and Transfer-Encoding: a proxy in front may have believed the other one.
ambiguous_length = problem(
    400,
    "ambiguous_length",
    "Send Content-Length or Transfer-Encoding, not both.",
    headers={"Connection": "close"},
)
# A bug of ours, of which a client learns only where to look it up.
internal_error = problem(
    500, "internal_error", "Something is wrong here. The log has more under the request_id."
)
