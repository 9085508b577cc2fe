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

_CODES = {404: "not_found", 405: "method_not_allowed"}
_DETAILS = {404: "There is nothing at this path.", 405: "This path has other methods: see Allow."}


def install(app: FastAPI, unavailable: type[Exception]) -> None:
    """Register the handlers; what they miss is a 500 of RequestContextMiddleware.

    `unavailable` is what the store raises that can't answer; its `detail` goes into the 503.
    """
    app.add_exception_handler(ProblemError, _problem)
    app.add_exception_handler(unavailable, _store_unavailable)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)


def _respond(request: Request, problem: ProblemError) -> Response:
    return Response(
        problem.body(request.state.request_id),
        status_code=problem.status,
        headers=problem.headers,
        media_type=problems.MEDIA_TYPE,
    )


async def _problem(request: Request, error: Any) -> Response:
    return _respond(request, error)


async def _store_unavailable(request: Request, error: Any) -> Response:
    _log.warning("answering 503: %s", error)
    return _respond(request, problems.unavailable(error.detail))


async def _validation(request: Request, error: Any) -> Response:
    # FastAPI puts the part of the request in front: query, header, path.
    items = [item | {"loc": item["loc"][1:]} for item in error.errors()]
    return _respond(request, problems.invalid_request(field_errors(items)))


async def _http(request: Request, error: Any) -> Response:
    status = error.status_code
    problem = ProblemError(
        status,
        _CODES.get(status, "http_error"),
        _DETAILS.get(status, problems.title_of(status)),
        headers=dict(error.headers or {}),
    )
    return _respond(request, problem)
