"""The connections that are open: a request's head must come in time."""

import asyncio
import logging
import uuid
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from backupexport_api.http import request_context
from backupexport_api.http.problems import ProblemError, problem
from backupexport_api.http.transport import HttpProtocol

_log = logging.getLogger(__name__)

CutReason = Literal["late_head"]
"""Why a connection was cut by us.  `late_head`: its request's head didn't come in time."""

_late_head = problem(
    408, "request_timeout", "Send the request's head without pauses.", Connection="close"
)
_unreadable = problem(
    400, "invalid_http", "Send a request that is valid HTTP/1.1.", Connection="close"
)


class ConnectionSettings(BaseSettings):
    """What a client gets before it has shown who it is."""

    model_config = SettingsConfigDict(use_attribute_docstrings=True)

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
    ) -> None:
        """`observe_request` is called with what no app sees, as by RequestContextMiddleware."""
        self.observe_request = observe_request
        self._on_cut = on_cut
        self._head_seconds = settings.request_head_seconds
        # When each began, in that order.
        self._awaited_heads: dict[GuardedProtocol, float] = {}
        self._sweep: asyncio.TimerHandle | None = None

    def protocol(self) -> type["GuardedProtocol"]:
        """Return the class of protocols whose connections are these, for uvicorn."""
        return type("Protocol", (GuardedProtocol,), {"guard": self})

    def await_head(self, connection: "GuardedProtocol") -> None:
        """Give a head its time, unless it has that already."""
        if connection not in self._awaited_heads:
            loop = asyncio.get_running_loop()
            self._awaited_heads[connection] = loop.time()
            # One timer for all: most heads are there long before it is due.
            if self._sweep is None:
                self._sweep = loop.call_later(self._head_seconds, self._cut_late)

    def await_nothing(self, connection: "GuardedProtocol") -> None:
        """Let a connection be: a request is being served, or none has begun, or it is over."""
        self._awaited_heads.pop(connection, None)

    def _cut_late(self) -> None:
        self._sweep = None
        loop = asyncio.get_running_loop()
        for connection, began in list(self._awaited_heads.items()):
            due = began + self._head_seconds
            if due > loop.time():
                self._sweep = loop.call_at(due, self._cut_late)
                return
            self._on_cut("late_head")
            self.await_nothing(connection)
            connection.end_late()


class GuardedProtocol(HttpProtocol):
    """uvicorn's protocol, which tells `guard` what its client owes."""

    guard: Connections

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection; called by asyncio."""
        super().connection_made(transport)
        self.guard.await_head(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection; called by asyncio."""
        super().connection_lost(exc)
        self.guard.await_nothing(self)

    def data_received(self, data: bytes) -> None:
        """Take what has come; called by asyncio."""
        super().data_received(data)
        self._note()

    def on_response_complete(self) -> None:
        """Go on with what was sent meanwhile; called by uvicorn."""
        super().on_response_complete()
        self._note()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP; called by uvicorn."""
        del msg
        self._refuse(_unreadable())

    def end_late(self) -> None:
        """Close the connection whose head didn't come in time."""
        if self.conn.trailing_data[0]:
            self._refuse(_late_head())
        else:
            # A client that has sent nothing yet may take an answer for that of its next request.
            self.transport.abort()

    @property
    def _is_serving(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _note(self) -> None:
        # Without a byte of a next request it is uvicorn that ends the connection in the end.
        if self._is_serving or not self.conn.trailing_data[0] or self.transport.is_closing():
            self.guard.await_nothing(self)
        else:
            self.guard.await_head(self)

    def _refuse(self, error: ProblemError) -> None:
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
        self.transport.close()
