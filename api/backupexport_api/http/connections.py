"""The connections that are open: how many there may be, and how long each may be waited for."""

import asyncio
import logging
import uuid
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict
from starlette.types import ASGIApp

from backupexport_api.http import request_context
from backupexport_api.http.problems import ProblemError, problem
from backupexport_api.http.transport import HttpProtocol, is_taken_over

_log = logging.getLogger(__name__)

CutReason = Literal["late_head", "stalled", "displaced", "refused"]
"""Why a connection was cut.  `late_head`: its request's head didn't come in time; `stalled`: next
to nothing of an answer was taken; `displaced`: a new one needed its place; `refused`: all others
were serving requests."""

# What a client must take of a plain answer, and in which time: else each would hold memory for as
# long as it likes.  Streams and downloads have limits of their own.
_STALL_BYTES, _STALL_SECONDS = 16 * 1024, 30.0

_late_head = problem(
    408, "request_timeout", "Send the request's head without pauses.", Connection="close"
)
_unreadable = problem(
    400, "invalid_http", "Send a request that is valid HTTP/1.1.", Connection="close"
)
_full = problem(
    503,
    "too_many_connections",
    "Too many requests are being served. Try again in a moment.",
    Connection="close",
)


class ConnectionSettings(BaseSettings):
    """What a client gets before it has shown who it is."""

    model_config = SettingsConfigDict(use_attribute_docstrings=True)

    most_connections: int = Field(default=2000, ge=1, le=100_000)
    """How many connections one replica has at once, event streams and downloads among them. Those
    that wait for a request make room for new ones."""
    request_head_seconds: float = Field(default=10, ge=0.05, le=300)
    """How long a request's head may take: from its connection's start, or from its first byte where
    the connection has served before."""
    request_body_seconds: float = Field(default=10, ge=0.05, le=300)
    """How long a request's body may take, from the end of its head."""


class Connections:
    """All connections of one listener; belongs to the event loop."""

    def __init__(
        self,
        settings: ConnectionSettings,
        observe_request: Callable[[str, str, int, float], None] = lambda *_: None,
        on_cut: Callable[[CutReason], None] = lambda _: None,
        on_count: Callable[[int], object] = lambda _: None,
    ) -> None:
        """`observe_request` is called with what no app sees, as by RequestContextMiddleware.

        `on_count` is called with the number of open connections.
        """
        self.observe_request = observe_request
        self._on_cut = on_cut
        self._on_count = on_count
        self._most = settings.most_connections
        self._head_seconds = settings.request_head_seconds
        # Each with what its client had not taken at the last look.
        self._open: dict[GuardedProtocol, int] = {}
        # In the order in which they began to wait; of those that owe a head, when.
        self._idle: dict[GuardedProtocol, None] = {}
        self._awaited_heads: dict[GuardedProtocol, float] = {}
        # One timer for all of each: most heads come, and most answers go, long before.
        self._sweep: asyncio.TimerHandle | None = None
        self._look: asyncio.TimerHandle | None = None

    def protocol(self, app: ASGIApp | None = None) -> type["GuardedProtocol"]:
        """Return the class of protocols whose connections are these; they serve `app` if given."""
        return type("Protocol", (GuardedProtocol,), {"guard": self, "own_app": app})

    def add(self, connection: "GuardedProtocol") -> None:
        """Count a new connection, at the cost of one that waits where there are enough."""
        if len(self._open) >= self._most:
            waiting = (
                next(iter(self._idle), None)
                or next(iter(self._awaited_heads), None)
                or next((other for other in self._open if other.untaken_bytes()), None)
            )
            self._cut(waiting or connection, "displaced" if waiting else "refused")
            if waiting is None:
                connection.refuse(_full())
                return
            waiting.transport.abort()
        self._open[connection] = 0
        self._on_count(len(self._open))
        self.await_head(connection)
        if self._look is None:
            self._look = asyncio.get_running_loop().call_later(_STALL_SECONDS, self._cut_stalled)

    def discard(self, connection: "GuardedProtocol") -> None:
        """Forget a connection that is over."""
        self._idle.pop(connection, None)
        self._awaited_heads.pop(connection, None)
        self._open.pop(connection, None)
        self._on_count(len(self._open))

    def await_head(self, connection: "GuardedProtocol") -> None:
        """Give a head its time, unless it has that already."""
        if connection in self._awaited_heads or connection not in self._open:
            return
        self._idle.pop(connection, None)
        loop = asyncio.get_running_loop()
        self._awaited_heads[connection] = loop.time()
        if self._sweep is None:
            self._sweep = loop.call_later(self._head_seconds, self._cut_late)

    def serve(self, connection: "GuardedProtocol") -> None:
        """Let a connection be: a request is being served."""
        self._idle.pop(connection, None)
        self._awaited_heads.pop(connection, None)

    def rest(self, connection: "GuardedProtocol") -> None:
        """Let a connection be until its next request, or until its place is needed."""
        self._awaited_heads.pop(connection, None)
        if connection in self._open:
            self._idle[connection] = None

    def _cut(self, connection: "GuardedProtocol", reason: CutReason) -> None:
        self._on_cut(reason)
        # At once: asyncio tells of its end later.
        self.discard(connection)

    def _cut_late(self) -> None:
        self._sweep = None
        loop = asyncio.get_running_loop()
        for connection, began in list(self._awaited_heads.items()):
            due = began + self._head_seconds
            if due > loop.time():
                self._sweep = loop.call_at(due, self._cut_late)
                return
            self._cut(connection, "late_head")
            connection.end_late()

    def _cut_stalled(self) -> None:
        self._look = None
        for connection, before in list(self._open.items()):
            untaken = connection.untaken_bytes()
            if untaken and 0 <= before - untaken < _STALL_BYTES:
                self._cut(connection, "stalled")
                connection.transport.abort()
            else:
                self._open[connection] = untaken
        if self._open:
            self._look = asyncio.get_running_loop().call_later(_STALL_SECONDS, self._cut_stalled)


class GuardedProtocol(HttpProtocol):
    """uvicorn's protocol, which tells `guard` what its client owes."""

    guard: Connections
    own_app: ASGIApp | None
    """Served in place of the app that uvicorn was given."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Of the class: a function would be bound.
        app = type(self).own_app
        if app is not None:
            self.app = app
        self._lingers = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection; called by asyncio."""
        super().connection_made(transport)
        self.guard.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection; called by asyncio."""
        super().connection_lost(exc)
        self.guard.discard(self)

    def data_received(self, data: bytes) -> None:
        """Take what has come; called by asyncio."""
        super().data_received(data)
        self._note()

    def on_response_complete(self) -> None:
        """Go on with what was sent meanwhile; called by uvicorn."""
        super().on_response_complete()
        self._note()

    def linger(self) -> None:
        """Give up the place of an answered request whose body still comes, where it is needed."""
        self._lingers = True
        self.guard.rest(self)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP; called by uvicorn."""
        del msg
        self.refuse(_unreadable())

    def end_late(self) -> None:
        """Close the connection whose head didn't come in time."""
        if self.conn.trailing_data[0]:
            self.refuse(_late_head())
        else:
            # A client that has sent nothing yet may take an answer for that of its next request.
            self.transport.abort()

    def refuse(self, error: ProblemError) -> None:
        """Answer in the app's place, where an answer has not begun; close the connection."""
        state: dict[str, Any] = self.scope["state"] if self._is_serving else {}
        if self._is_serving:
            # The app's own answer would come after ours; its request is counted all the same.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        else:
            self.guard.observe_request("other", request_context.NO_ROUTE, error.status, 0.0)
        if self._is_serving and self.cycle.response_started:
            self.transport.abort()
            return
        request_id = state.get("request_id") or str(uuid.uuid4())
        fields = {"status": error.status, "code": error.code, "request_id": request_id}
        _log.info("request refused", extra={"fields": fields})
        response = error.response(request_id)
        head = [
            b"HTTP/1.1 %d %b" % (error.status, HTTPStatus(error.status).phrase.encode()),
            *(
                b"%b: %b" % field
                for field in (
                    *self.server_state.default_headers,
                    *response.raw_headers,
                    (request_context.HEADER.lower().encode(), request_id.encode()),
                )
            ),
        ]
        self.transport.write(b"\r\n".join([*head, b"", bytes(response.body)]))
        if self.transport.get_write_buffer_size():
            # Closing would wait for a client that takes nothing.
            self.transport.abort()
        else:
            self.transport.close()

    def untaken_bytes(self) -> int:
        """Return how much of a plain answer waits for the client."""
        watched = self._is_serving and is_taken_over(self.scope["state"])
        return 0 if watched else self.transport.get_write_buffer_size()

    @property
    def _is_serving(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _note(self) -> None:
        if self._lingers:
            return
        if self._is_serving or self.transport.is_closing():
            self.guard.serve(self)
        elif self.conn.trailing_data[0]:
            self.guard.await_head(self)
        else:
            # In the end uvicorn closes it.
            self.guard.rest(self)
