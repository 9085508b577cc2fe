"""Turns every exception into a problem."""

import logging
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from backupexport_api.http import problems
from backupexport_api.http.problems import ProblemError
from backupexport_api.http.validation import field_errors

_log = logging.getLogger(__name__)

_CODES_AND_DETAILS = {
    404: ("not_found", "There is nothing at this path."),
    405: ("method_not_allowed", "This path has other methods: see Allow."),
}


def install(app: FastAPI) -> None:
    """Register the handlers; RequestContextMiddleware answers 500 to what they leave."""
    app.add_exception_handler(ProblemError, _problem)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)


async def _problem(request: Request, error: Any) -> Response:
    if error.why is not None:
        _log.warning("answering %d: %s", error.status, error.why)
    response: Response = error.response(request.state.request_id)
    return response


async def _validation(request: Request, error: Any) -> Response:
    # FastAPI puts the part of the request in front: query, header, path.
    items = [item | {"loc": item["loc"][1:]} for item in error.errors()]
    return await _problem(request, problems.invalid_request(field_errors(items)))


async def _http(request: Request, error: Any) -> Response:
    status = error.status_code
    unnamed = ("http_error", problems.title_of(status))
    code, detail = _CODES_AND_DETAILS.get(status, unnamed)
    headers = dict(error.headers or {})
    return await _problem(request, ProblemError(status, code, detail, headers=headers))
