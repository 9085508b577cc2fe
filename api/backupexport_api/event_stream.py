"""An answer that sends events one by one for as long as there are any."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager, aclosing

from fastapi import Response
from starlette.types import Message, Receive, Scope, Send

from backupexport_api import request_context
from backupexport_api.connection import connection_of, cut, hold_little
from backupexport_api.event_streams import EventStreams
from backupexport_api.job_events import JobEvents

MEDIA_TYPE = "text/event-stream"

# How long a client may take nothing before it is cut off, and how long once the stream ends.
_PATIENCE_SECONDS = 30.0
_LAST_PATIENCE_SECONDS = 1.0


class EventStream(Response):
    """The answer to one client; no more than one event waits for it to take the one before."""

    def __init__(
        self,
        events: JobEvents,
        streams: EventStreams,
        subject: str,
        watching: AbstractContextManager[object],
    ) -> None:
        """`watching` is what the events come from; it is left when the stream ends."""
        self.status_code = 200
        self.background = None
        self.init_headers(
            {
                # As it stands in the specification: some clients compare all of it.
                "Content-Type": MEDIA_TYPE,
                "Cache-Control": "no-store",
                # nginx holds back what it may buffer.
                "X-Accel-Buffering": "no",
                # Whatever the client asks for next shall be free to go to another replica.
                "Connection": "close",
            }
        )
        self._events = events
        self._streams = streams
        self._subject = subject
        self._watching = watching
        self._patience_seconds = _PATIENCE_SECONDS
        self._sending: asyncio.Timeout | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the client; ProblemError (429, 503) before that where there are too many."""
        with self._watching, self._streams.place(self._subject, self._end):
            request_context.mark_as_stream(scope)
            connection = connection_of(scope)
            if connection is not None:
                hold_little(connection)
            leaving = asyncio.create_task(_call_when_gone(receive, self._events.end))
            try:
                await self._send_all(send)
            except TimeoutError:
                if connection is not None:
                    await cut(connection)
            finally:
                leaving.cancel()

    async def _send_all(self, send: Send) -> None:
        start = {
            "type": "http.response.start",
            "status": self.status_code,
            "headers": self.raw_headers,
        }
        # Even that may wait, for the client to take the connection's answer before.
        await self._send(send, start)
        async with aclosing(self._events.frames()) as frames:
            async for frame in frames:
                await self._send(send, _body(frame, more=True))
        await self._send(send, _body(b"", more=False))

    async def _send(self, send: Send, message: Message) -> None:
        try:
            async with asyncio.timeout(self._patience_seconds) as self._sending:
                await send(message)
        finally:
            self._sending = None

    def _end(self) -> None:
        self._events.end()
        self._patience_seconds = _LAST_PATIENCE_SECONDS
        if self._sending is not None and not self._sending.expired():
            self._sending.reschedule(asyncio.get_running_loop().time() + _LAST_PATIENCE_SECONDS)


def _body(frame: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": frame, "more_body": more}


async def _call_when_gone(receive: Receive, gone: Callable[[], None]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    gone()
