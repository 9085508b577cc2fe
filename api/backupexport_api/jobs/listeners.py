"""The cache's thread publishes jobs' changes; the event loop hands each to the job's listeners."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from backupexport_api.jobs.cached_job import CachedJob


@dataclass(frozen=True, slots=True)
class Change:
    """A job's new state."""

    job: CachedJob | None
    """None where the job was deleted."""


class JobListener:
    """Keeps the newest state of one job, however slowly it is taken; belongs to the event loop."""

    __slots__ = ("_latest", "_woken", "job_id")

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        self._latest: Change | None = None
        self._woken = asyncio.Event()

    def tell(self, change: Change) -> None:
        """Keep `change` for `take`, in place of one that was not taken."""
        self._latest = change
        self._woken.set()

    def wake(self) -> None:
        """End a `wait` although nothing has changed."""
        self._woken.set()

    def peek(self) -> Change | None:
        """Return what `take` would return."""
        return self._latest

    def take(self) -> Change | None:
        """Return the newest change since the last call, if any."""
        latest, self._latest = self._latest, None
        self._woken.clear()
        return latest

    async def wait(self, seconds: float) -> None:
        """Wait until `tell` or `wake` is called, for `seconds` at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()


class JobListeners:
    """All listeners of one event loop."""

    def __init__(self) -> None:
        self._listeners: dict[str, set[JobListener]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    @contextmanager
    def listen(self, job_id: str) -> Iterator[JobListener]:
        """Return a listener to every change from now on; call it on the event loop."""
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
        """Tell listeners a job's new state, None where it was deleted; call it from any thread."""
        # A later listener's request finds the new state in the index, which had it before this.
        if self._loop is not None and job_id in self._listeners:
            self._loop.call_soon_threadsafe(self._tell_all, job_id, Change(job))

    def _tell_all(self, job_id: str, change: Change) -> None:
        for listener in self._listeners.get(job_id, ()):
            listener.tell(change)
