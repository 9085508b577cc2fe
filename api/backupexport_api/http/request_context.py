"""Gives every request its id and its line in the log, and answers 500 to unhandled errors."""

import logging
import re
import time
import uuid
from collections.abc import Callable, Mapping
from contextvars import ContextVar

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backupexport_api.http import problems
from backupexport_api.http.unread_body import RequestBody, has_body

HEADER = "X-Request-ID"
NO_ROUTE = "(none)"
"""The route of requests that have none, in logs and metrics."""

request_id: ContextVar[str] = ContextVar("request_id", default="-")

_log = logging.getLogger(__name__)
_SANE = re.compile(r"[A-Za-z0-9._-]{1,128}")
# Asked every few seconds, and of interest only when the answer is bad.
_ROUTINE = ("/healthz", "/readyz", "/metrics")
_IS_STREAM = "is_stream"


class RequestContextMiddleware:
    """Our outermost middleware; sets `request_id` and `response_headers` in the request's state."""

    def __init__(
        self,
        app: ASGIApp,
        observe: Callable[[str, str, int, float], None],
        body_seconds: float,
        headers: Mapping[str, str],
    ) -> None:
        """`observe` is called with each request's method, route, status and duration in seconds.

        A request's body may take `body_seconds`; answers without one of `headers` get it.
        """
        self._app = app
        self._observe = observe
        self._body_seconds = body_seconds
        self._headers = _encoded(headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        # Of several with one name the first.
        asked = dict(reversed(scope["headers"]))
        own_id = asked.get(b"x-request-id", b"").decode("latin-1")
        state["request_id"] = own_id if _SANE.fullmatch(own_id) else str(uuid.uuid4())
        headers: dict[str, str] = {HEADER: state["request_id"]}
        state["response_headers"] = headers
        status: int | None = None
        answered = 0.0
        if has_body(asked):
            body = RequestBody(scope, receive, send, self._body_seconds)
            receive, send = body.receive, body.send

        async def send_with_headers(message: Message) -> None:
            nonlocal status, answered
            if message["type"] == "http.response.start":
                status = message["status"]
                answered = time.monotonic()
                given = {name for name, _ in message["headers"]}
                added = dict([*self._headers, *_encoded(headers)])
                missing = (field for field in added.items() if field[0] not in given)
                message["headers"] = [*message["headers"], *missing]
            await send(message)

        token = request_id.set(state["request_id"])
        started = time.monotonic()
        try:
            # A proxy may see another end of the request (RFC 9112, 6.3).
            if b"content-length" in asked and b"transfer-encoding" in asked:
                response = problems.ambiguous_length().response(state["request_id"])
                await response(scope, receive, send_with_headers)
            else:
                await self._app(scope, receive, send_with_headers)
        except Exception:
            _log.exception("unhandled exception")
            if status is not None:
                raise
            response = problems.internal_error().response(state["request_id"])
            await response(scope, receive, send_with_headers)
        finally:
            seconds = time.monotonic() - started
            # The template: the path is the client's text.
            route = getattr(scope.get("route"), "path", NO_ROUTE)
            taken = answered - started if state.get(_IS_STREAM) and answered else seconds
            # Without a status the client had gone before there was one.
            self._observe(scope["method"], route, status or 0, taken)
            _log_request(scope, route, status, seconds)
            request_id.reset(token)


def _encoded(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


def add_response_headers(request: Request, headers: dict[str, str]) -> None:
    """Send `headers` with the answer to `request`, be it a success or an error."""
    request.state.response_headers.update(headers)


def mark_as_stream(scope: Scope) -> None:
    """Measure the request until its answer begins: how long a stream lasts is no delay."""
    scope["state"][_IS_STREAM] = True


def _log_request(scope: Scope, route: str, status: int | None, seconds: float) -> None:
    fields = {
        "method": scope["method"],
        "route": route,
        "status": status,
        "ms": round(seconds * 1000, 1),
        "sub": scope["state"].get("subject"),
    }
    quiet = scope["path"] in _ROUTINE and status == 200
    _log.log(logging.DEBUG if quiet else logging.INFO, "request", extra={"fields": fields})
