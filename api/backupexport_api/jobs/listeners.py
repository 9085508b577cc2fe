"""Who waits for changes of which job, and how they hear of one.

Changes come from the caches' thread and go to the event loop once each, however many wait there.
Of a job that changes faster than somebody takes it, only the newest state is kept.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from backupexport_api.jobs.cached_job import CachedJob


@dataclass(frozen=True, slots=True)
class Change:
    """What has become of a job."""

    job: CachedJob | None
    """None where it is no more."""


class JobListener:
    """One who waits for changes of one job; everything in here belongs to the event loop."""

    __slots__ = ("_latest", "_woken", "job_id")

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        self._latest: Change | None = None
        self._woken = asyncio.Event()

    def tell(self, change: Change) -> None:
        """Have `change` taken next, instead of what was not taken yet."""
        self._latest = change
        self._woken.set()

    def wake(self) -> None:
        """End a wait although nothing has changed."""
        self._woken.set()

    def peek(self) -> Change | None:
        """What `take` would give."""
        return self._latest

    def take(self) -> Change | None:
        """The newest change since the last call, if any."""
        latest, self._latest = self._latest, None
        self._woken.clear()
        return latest

    async def wait(self, seconds: float) -> None:
        """Wait for `tell` or `wake`, so long at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()


class JobListeners:
    """All who wait, on one event loop."""

    def __init__(self) -> None:
        self._listeners: dict[str, set[JobListener]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    @contextmanager
    def listen(self, job_id: str) -> Iterator[JobListener]:
        """Hear of every change from now on; called on the event loop."""
        self._loop = asyncio.get_running_loop()
        listener = JobListener(job_id)
        self._listeners.setdefault(job_id, set()).add(listener)
        try:
            yield listener
        finally:
            others = self._listeners[job_id]
            others.discard(listener)
            if not others:
                del self._listeners[job_id]

    def publish(self, job_id: str, job: CachedJob | None) -> None:
        """Tell of a job's new state, or that it is gone; called from any thread."""
        # Whoever comes later reads the new state by themselves: it was in the index before this.
        if self._loop is not None and job_id in self._listeners:
            self._loop.call_soon_threadsafe(self._tell_all, job_id, Change(job))

    def _tell_all(self, job_id: str, change: Change) -> None:
        for listener in self._listeners.get(job_id, ()):
            listener.tell(change)
