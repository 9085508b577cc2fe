"""The event streams that are open: how many there may be, and the end of all of them."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import Gauge

from backupexport_api import problems
from backupexport_api.settings import Settings


class EventStreams:
    """All streams of one process; belongs to the event loop."""

    def __init__(self, settings: Settings, open_now: Gauge) -> None:
        """`open_now` shows how many there are."""
        self.heartbeat_seconds = settings.event_heartbeat_seconds
        self._longest_seconds = settings.event_stream_seconds
        self._most = settings.most_event_streams
        self._open_now = open_now
        self._ends: set[Callable[[], None]] = set()
        self._all_have_ended = False

    def lifetime(self) -> float:
        """How many seconds the next stream may last.

        Not the same for all, so that those that began together don't come back together.
        """
        return self._longest_seconds * random.uniform(0.5, 1)  # noqa: S311 - no secret

    @contextmanager
    def place(self, end: Callable[[], None]) -> Iterator[None]:
        """Take a place for one stream; ProblemError (503) where there is none.

        `end` is called when the process ends: at once where that has begun.
        """
        if len(self._ends) >= self._most:
            raise problems.too_many_streams()
        self._ends.add(end)
        self._open_now.set(len(self._ends))
        try:
            if self._all_have_ended:
                end()
            yield
        finally:
            self._ends.discard(end)
            self._open_now.set(len(self._ends))

    def end_all(self) -> None:
        """End every stream, and whatever is opened later after its first event."""
        self._all_have_ended = True
        for end in list(self._ends):
            end()
