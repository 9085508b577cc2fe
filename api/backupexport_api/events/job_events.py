"""What one listener is told of a job, and when there is nothing more to tell.

The format is https://html.spec.whatwg.org/multipage/server-sent-events.html.  An event's id is the
version of the resource, which is the same on every replica.
"""

import random
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable

from backupexport_api.auth.claims import ProjectAccess
from backupexport_api.jobs.cached_job import CachedJob
from backupexport_api.jobs.listeners import Change, JobListener

# Over so much time do clients come back that a restart has cut off together.
_RETRY_MILLISECONDS = (1000, 4000)

_HEARTBEAT = b":\n\n"
_GONE = b'event: gone\ndata: {"job_id":"%b"}\n\n'
_VERSION = re.compile(r"[0-9]{1,20}")


class ClientState:
    """What the client has of the job, and so what is news to it."""

    def __init__(self, last_event_id: str | None) -> None:
        self._version = last_event_id
        self._json: bytes | None = None

    @property
    def is_hearsay(self) -> bool:
        """Whether what the client has is only what it says it has."""
        return self._json is None

    def has(self, job: CachedJob) -> bool:
        """Whether the client has got just this."""
        return job.resource_version == self._version

    def is_newer_than(self, job: CachedJob) -> bool:
        """Whether the client has heard of a state to which our cache has yet to come.

        Versions of one resource can be compared as numbers:
        https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions
        """
        theirs, ours = self._version or "", job.resource_version
        if _VERSION.fullmatch(theirs) and _VERSION.fullmatch(ours):
            return int(ours) < int(theirs)
        return False

    def event_of(self, job: CachedJob) -> bytes | None:
        """The event that brings the client up to date; None where it is."""
        # The last one is sent in any case: it is its id that says that there is no more.
        if self.has(job) or (job.json == self._json and not job.is_settled):
            return None
        self._version, self._json = job.resource_version, job.json
        return b"id: %b\ndata: %b\n\n" % (job.resource_version.encode(), job.json)


class JobEvents:
    """The events of the job that `watch` is about, beginning with what it has to tell now."""

    def __init__(
        self,
        listener: JobListener,
        client_state: ClientState,
        access: ProjectAccess,
        is_still_welcome: Callable[[], Awaitable[bool]],
        *,
        heartbeat_seconds: float,
        ends_at: float,
    ) -> None:
        """`ends_at` is in seconds since 1970; `is_still_welcome` is asked at each heartbeat."""
        self._listener = listener
        self._client_state = client_state
        self._access = access
        self._is_still_welcome = is_still_welcome
        self._heartbeat_seconds = heartbeat_seconds
        self._ends_at = ends_at
        self._has_ended = False
        self._held_back: Change | None = None

    def end(self) -> None:
        """Tell what there is to tell by now, and no more."""
        self._has_ended = True
        self._listener.wake()

    async def frames(self) -> AsyncGenerator[bytes, None]:
        """What to send, piece by piece, each when its time has come."""
        yield b"retry: %d\n\n" % random.randint(*_RETRY_MILLISECONDS)  # noqa: S311 - no secret
        is_due = False
        due_at = time.monotonic() + self._heartbeat_seconds
        while True:
            piece = self._piece(is_due=is_due)
            if piece is not None:
                yield piece
            left = self._ends_at - time.time()
            if self._has_ended or left <= 0:
                return
            await self._listener.wait(min(left, max(0.0, due_at - time.monotonic())))
            # Whatever has changed by then: a job that is busy would put it off for hours.
            is_due = time.monotonic() >= due_at
            if is_due:
                due_at = time.monotonic() + self._heartbeat_seconds
                if not await self._is_still_welcome():
                    return

    def _piece(self, *, is_due: bool) -> bytes | None:
        """What there is to send now; something in any case where a heartbeat is due."""
        change = self._listener.take() or (self._held_back if is_due else None)
        heartbeat = _HEARTBEAT if is_due else None
        if change is None:
            return heartbeat
        self._held_back = None
        job = change.job
        # Another project's resource may have taken the name.
        if job is None or not self._access.allows(job.project_id):
            self._has_ended = True
            return _GONE % self._listener.job_id.encode()
        # A heartbeat later no cache is behind: the cluster was restored, or the id is made up.
        is_believed = not (is_due and self._client_state.is_hearsay)
        if self._client_state.is_newer_than(job) and is_believed:
            self._held_back = change
            return heartbeat
        self._has_ended |= job.is_settled
        return self._client_state.event_of(job) or heartbeat
