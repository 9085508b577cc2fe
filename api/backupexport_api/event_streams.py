"""The event streams that are open: how many there may be, and the end of all of them."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import Gauge

from backupexport_api import problems
from backupexport_api.caller_slots import CallerSlots
from backupexport_api.settings import Settings


class EventStreams:
    """All streams of one process; belongs to the event loop."""

    def __init__(self, settings: Settings, open_now: Gauge) -> None:
        """`open_now` shows how many there are."""
        self.heartbeat_seconds = settings.event_heartbeat_seconds
        self._longest_seconds = settings.event_stream_seconds
        self._slots = CallerSlots(settings.most_event_streams, settings.most_event_streams_each)
        self._open_now = open_now
        self._ends: set[Callable[[], None]] = set()
        self._all_have_ended = False

    def lifetime(self) -> float:
        """How many seconds the next stream may last.

        Not the same for all, so that those that began together don't come back together.
        """
        return self._longest_seconds * random.uniform(0.5, 1)  # noqa: S311 - no secret

    @contextmanager
    def place(self, caller: str, end: Callable[[], None]) -> Iterator[None]:
        """Take a place for one stream; ProblemError (429, 503) where there is none.

        `end` is called when the process ends: at once where that has begun.
        """
        taken = self._slots.take(caller)
        if taken == "caller_full":
            raise problems.too_many_streams_of_yours(self._slots.most_each)
        if taken == "full":
            raise problems.too_many_streams()
        self._ends.add(end)
        self._open_now.set(self._slots.taken)
        try:
            if self._all_have_ended:
                end()
            yield
        finally:
            self._ends.discard(end)
            self._slots.release(caller)
            self._open_now.set(self._slots.taken)

    def end_all(self) -> None:
        """End every stream, and whatever is opened later after its first event."""
        self._all_have_ended = True
        for end in list(self._ends):
            end()
