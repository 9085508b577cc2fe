"""The events of one stream: what is sent when a job changes, and when the stream ends.

The format: https://html.spec.whatwg.org/multipage/server-sent-events.html.  An event's id is the
resourceVersion, the same on every replica.
"""

import random
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass

from backupexport_api.auth.claims import ProjectAccess
from backupexport_api.jobs.cached_job import CachedJob
from backupexport_api.jobs.listeners import Change, JobListener

# Clients that a restart has cut off together come back over this span of time.
_RETRY_MILLISECONDS = (1000, 4000)

_HEARTBEAT = b":\n\n"
_GONE = b'event: gone\ndata: {"job_id":"%b"}\n\n'
_VERSION = re.compile(r"[0-9]{1,20}")


class ClientState:
    """The newest state of the job that the client has, and so what is news to it."""

    def __init__(self, last_event_id: str | None) -> None:
        """`last_event_id` is what the client says that it has."""
        self._version = last_event_id
        self._json: bytes | None = None

    @property
    def is_claimed(self) -> bool:
        """Whether this is what the client says that it has: nothing was sent yet."""
        return self._json is None

    def has(self, job: CachedJob) -> bool:
        """Return whether the client has this version of the job."""
        return job.resource_version == self._version

    def is_newer_than(self, job: CachedJob) -> bool:
        """Return whether the client has a newer version than this one of our cache."""
        # https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions
        theirs, ours = self._version or "", job.resource_version
        if _VERSION.fullmatch(theirs) and _VERSION.fullmatch(ours):
            return int(ours) < int(theirs)
        return False

    def next_event(self, job: CachedJob) -> bytes | None:
        """Return the event to send, and count it as sent; None where the client is up to date."""
        # The last event is sent in any case: its id tells that there is no more to come.
        if self.has(job) or (job.json == self._json and not job.is_settled):
            return None
        self._version, self._json = job.resource_version, job.json
        return b"id: %b\ndata: %b\n\n" % (job.resource_version.encode(), job.json)


@dataclass(slots=True)
class JobEvents:
    """The events of one job, from what its listener has now."""

    listener: JobListener
    client_state: ClientState
    access: ProjectAccess
    is_still_welcome: Callable[[], Awaitable[bool]]
    """Called at each heartbeat."""
    heartbeat_seconds: float
    ends_at: float
    """In seconds since 1970."""
    _has_ended: bool = False
    _held_back: Change | None = None

    def end(self) -> None:
        """Send what has changed by now, and then nothing more."""
        self._has_ended = True
        self.listener.wake()

    async def frames(self) -> AsyncGenerator[bytes, None]:
        """Yield what to send, each piece when it is due; ends with the stream."""
        yield b"retry: %d\n\n" % random.randint(*_RETRY_MILLISECONDS)  # noqa: S311 - no secret
        is_due = False
        due_at = time.monotonic() + self.heartbeat_seconds
        while True:
            piece = self._piece(is_due=is_due)
            if piece is not None:
                yield piece
            left = self.ends_at - time.time()
            if self._has_ended or left <= 0:
                return
            await self.listener.wait(min(left, max(0.0, due_at - time.monotonic())))
            # Also while events are sent: a busy job would put heartbeats off for hours.
            is_due = time.monotonic() >= due_at
            if is_due:
                due_at = time.monotonic() + self.heartbeat_seconds
                if not await self.is_still_welcome():
                    return

    def _piece(self, *, is_due: bool) -> bytes | None:
        """Return what to send now, if anything; always something where a heartbeat is due."""
        change = self.listener.take() or (self._held_back if is_due else None)
        heartbeat = _HEARTBEAT if is_due else None
        if change is None:
            return heartbeat
        self._held_back = None
        job = change.job
        # Another project's resource may have taken the name.
        if job is None or not self.access.allows(job.project_id):
            self._has_ended = True
            return _GONE % self.listener.job_id.encode()
        # After a heartbeat's time no cache is behind: the cluster was restored, or the id made up.
        is_believed = not (is_due and self.client_state.is_claimed)
        if self.client_state.is_newer_than(job) and is_believed:
            self._held_back = change
            return heartbeat
        self._has_ended |= job.is_settled
        return self.client_state.next_event(job) or heartbeat
