"""Errors as clients see them: `application/problem+json` (RFC 9457)."""

from collections.abc import Sequence
from http import HTTPStatus

from pydantic import BaseModel, ConfigDict

MEDIA_TYPE = "application/problem+json"

# Long enough for an API server to restart its watch cache, short enough for a waiting person.
RETRY_AFTER_SECONDS = 5

# HTTPStatus spells these differently from one Python version to the next.
_TITLES = {413: "Content Too Large"}


class FieldError(BaseModel):
    """One field that breaks a rule; the rejected value is never repeated."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    field: str
    """The field's name, or `body` for the body as a whole."""
    message: str
    """What the value must be."""
    code: str
    """The same in one stable word, for programs."""


class Problem(BaseModel):
    """An error."""

    model_config = ConfigDict(use_attribute_docstrings=True)

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
    """Ends a request with a problem."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        headers: dict[str, str] | None = None,
        errors: Sequence[FieldError] = (),
    ) -> None:
        super().__init__(f"{status} {code}")
        self.status = status
        self.code = code
        self.detail = detail
        # Caches may keep 404, 410 and 501 unless they are told (RFC 9110, 15.1).
        self.headers = {"Cache-Control": "no-store", **(headers or {})}
        self.errors = list(errors)

    def body(self, request_id: str) -> bytes:
        """The answer's body as JSON."""
        problem = Problem(
            title=title_of(self.status),
            status=self.status,
            detail=self.detail,
            code=self.code,
            request_id=request_id,
            errors=self.errors or None,
        )
        return problem.model_dump_json(exclude_none=True).encode()


def title_of(status: int) -> str:
    """The status in words."""
    return _TITLES.get(status) or HTTPStatus(status).phrase


def invalid_request(errors: Sequence[FieldError]) -> ProblemError:
    """400 for a body that breaks rules."""
    return ProblemError(
        400, "invalid_request", "The request is not valid: see errors.", errors=errors
    )


def malformed_body(message: str) -> ProblemError:
    """400 for a body that is no JSON object."""
    return invalid_request([FieldError(field="body", message=message, code="malformed_body")])


def ambiguous_length() -> ProblemError:
    """400: two headers say where the request ends, and a proxy may have believed the other one."""
    return ProblemError(
        400,
        "ambiguous_length",
        "Send Content-Length or Transfer-Encoding, not both.",
        headers={"Connection": "close"},
    )


def unavailable(detail: str, code: str = "kubernetes_unavailable") -> ProblemError:
    """503: worth trying again."""
    return ProblemError(503, code, detail, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})


def internal_error() -> ProblemError:
    """500: a bug of ours, about which a client learns only where to look it up."""
    return ProblemError(
        500, "internal_error", "Something is wrong here. The log has more under the request_id."
    )
