"""The event streams that are open: how many there may be, how one is sent, and how all end."""

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, aclosing, contextmanager

from fastapi import Response
from prometheus_client import Gauge
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict
from starlette.types import Message, Receive, Scope, Send

from backupexport_api.events.job_events import JobEvents
from backupexport_api.http import request_context, transport
from backupexport_api.http.problems import ProblemError
from backupexport_api.http.transport import body_message
from backupexport_api.limits.slots import SlotOwner, Slots

MEDIA_TYPE = "text/event-stream"

# How long a client may take nothing before it is cut off, and how long once the stream ends.
_PATIENCE_SECONDS = 30.0
_LAST_PATIENCE_SECONDS = 1.0


class EventSettings(BaseSettings):
    """How many event streams there may be, and how long one lasts."""

    model_config = SettingsConfigDict(use_attribute_docstrings=True)

    most_event_streams: int = Field(default=1000, ge=0, le=100_000)
    """How many streams of events one replica serves at once."""
    # All who watch one job may come with one service's token, hundreds of them; that service must
    # still leave places for others.
    most_event_streams_each: int = Field(default=500, ge=1, le=100_000)
    """How many of them each sub may have."""
    event_heartbeat_seconds: float = Field(default=15, ge=0.05, le=300)
    """After how long a silence an event stream shows that it lives."""
    event_stream_seconds: float = Field(default=3600, ge=0.05, le=86400)
    """After how long, or after a part of that, an event stream ends and its client comes back,
    maybe to another replica."""


class EventStreams:
    """All streams of one process; belongs to the event loop."""

    def __init__(self, settings: EventSettings, open_now: Gauge) -> None:
        """`open_now` is set to the number of open streams."""
        self.heartbeat_seconds = settings.event_heartbeat_seconds
        self._longest_seconds = settings.event_stream_seconds
        self._slots = Slots(settings.most_event_streams, settings.most_event_streams_each)
        self._open_now = open_now
        self._ends: set[Callable[[], None]] = set()
        self._all_have_ended = False

    def lifetime(self) -> float:
        """Return how many seconds the next stream may last."""
        # Different for those that began together, so that clients don't come back together.
        return self._longest_seconds * random.uniform(0.5, 1)  # noqa: S311 - no secret

    @contextmanager
    def slot(self, caller: str, end: Callable[[], None]) -> Iterator[None]:
        """Take a slot; call `end` when the process is to end; raises ProblemError (429, 503)."""
        # A stream takes a slot for long, and a poll takes none.
        owner = SlotOwner(caller)
        taken = self._slots.take(owner)
        if taken == "owner_full":
            opened = f"You have {self._slots.most_each} event streams open already."
            raise ProblemError(429, "too_many_streams", f"{opened} Poll the job for now.")
        if taken == "full":
            detail = "Too many event streams are open. Poll the job for now."
            raise ProblemError(503, "too_many_streams", detail)
        self._ends.add(end)
        self._open_now.set(self._slots.taken)
        try:
            if self._all_have_ended:
                end()
            yield
        finally:
            self._ends.discard(end)
            self._slots.release(owner)
            self._open_now.set(self._slots.taken)

    def end_all(self) -> None:
        """End every stream; one that is opened later ends after its first event."""
        self._all_have_ended = True
        for end in list(self._ends):
            end()


class EventStream(Response):
    """The answer to one client; an event is sent when the client has taken the one before."""

    def __init__(
        self, events: JobEvents, streams: EventStreams, subject: str, listening: ExitStack
    ) -> None:
        """`listening` is what the events come from; it is left when the stream ends."""
        self.status_code = 200
        self.background = None
        self.init_headers(
            {
                # As it stands in the specification: some clients compare all of it.
                "Content-Type": MEDIA_TYPE,
                "Cache-Control": "no-store",
                # nginx would hold events back.
                "X-Accel-Buffering": "no",
                # The client's next request may then go to another replica.
                "Connection": "close",
            }
        )
        self._events = events
        self._streams = streams
        self._subject = subject
        self._listening = listening
        self._patience_seconds = _PATIENCE_SECONDS
        self._sending: asyncio.Timeout | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the client; raises ProblemError (429, 503) before the answer has begun."""
        if scope["method"] == "HEAD":
            self._listening.close()
            await send(transport.start_message(self))
            await send(body_message(b"", more=False))
            return
        with self._listening, self._streams.slot(self._subject, self._end):
            request_context.mark_as_stream(scope)
            client = transport.take_over(scope)
            if client is not None:
                transport.hold_little(client)
            leaving = asyncio.create_task(_call_when_gone(receive, self._events.end))
            try:
                await self._send_all(send)
            except TimeoutError:
                if client is not None:
                    await transport.cut(client)
            finally:
                leaving.cancel()

    async def _send_all(self, send: Send) -> None:
        # This may wait, too: until the client has taken the answer before on its connection.
        await self._send(send, transport.start_message(self))
        async with aclosing(self._events.frames()) as frames:
            async for frame in frames:
                await self._send(send, body_message(frame, more=True))
        await self._send(send, body_message(b"", more=False))

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


async def _call_when_gone(receive: Receive, gone: Callable[[], None]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    gone()
