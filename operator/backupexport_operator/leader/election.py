"""Elects the replica that acts: takes the Lease, renews it, gives it back.

Why not kubernetes.aio.leaderelection: its requests have no time limit, so a replica whose request
hangs goes on leading beside the next one; it trusts the wall clock; any error but an ApiException
ends it; it doesn't give the Lease back; and it can't tell before a write whether it still leads.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from backupexport_operator.kube.client import SERVER_AWAY, NotLeadingError, brief, retry_after
from backupexport_operator.leader import decision
from backupexport_operator.leader.decision import NEVER, LeaseRecord, SeenLease, Timings
from backupexport_operator.leader.lease import LeaseStore, LeaseTakenError

_logger = logging.getLogger(__name__)

Result = TypeVar("Result")

# Unlike CLOCK_MONOTONIC, it goes on while the machine sleeps.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def steady_clock() -> float:
    """Returns seconds of a clock that nobody sets, and that runs on while the machine sleeps."""
    return time.clock_gettime(_CLOCK)


class Leadership:
    """This process as candidate and leader."""

    def __init__(
        self,
        store: LeaseStore,
        identity: str,
        timings: Timings,
        clock: Callable[[], float] = steady_clock,
    ) -> None:
        self._store = store
        self._identity = identity
        self._timings = timings
        self._clock = clock
        self._seen_lease: SeenLease | None = None
        # A restarted container has the identity of the one before, and takes its Lease back.  If
        # the Lease turns out to be ours later, that was a write whose answer never came: our way
        # to the API server is bad, so another replica may have the Lease.
        self._may_resume = True
        self._renewed_at = NEVER
        self._heard_at = clock()
        self._last_failure = ""
        # For so many seconds after the last request the API server wants to be left alone.
        self._leave_alone = 0.0

    def holds(self) -> bool:
        """Returns whether this process leads now, even if it has just slept for a long time."""
        return self._seconds_left() > 0

    def seconds_to_write(self) -> float:
        """Returns the seconds that a write which begins now may take.  Raises NotLeadingError."""
        seconds = decision.seconds_to_write(self._renewed_at, self._clock(), self._timings)
        if seconds <= 0:
            raise NotLeadingError("the Lease is not held any more")
        return seconds

    def seconds_unheard(self) -> float:
        """Returns the seconds since the API server last answered about the Lease."""
        return self._clock() - self._heard_at

    async def acquire(self, stopping: asyncio.Event) -> bool:
        """Returns True once this process leads, False if `stopping` is set before."""
        self._renewed_at = NEVER
        _logger.info("%s is a candidate", self._identity)
        stopped = asyncio.create_task(stopping.wait())
        try:
            while not stopping.is_set():
                wait = await self._attempt(self._try_to_take, self._timings.attempt)
                if self.holds():
                    _logger.info("%s leads", self._identity)
                    return True
                seconds = self._timings.retry if wait is None else min(wait, self._timings.retry)
                seconds = max(seconds, min(self._leave_alone, self._timings.lease))
                await asyncio.wait({stopped}, timeout=seconds)
        finally:
            stopped.cancel()
        return False

    async def keep(self) -> str:
        """Renew the Lease until that fails.  Returns why it failed."""
        due = self._timings.retry
        while True:
            await asyncio.sleep(min(due, self._seconds_left()))
            left = self._seconds_left()
            if left <= 0:
                self._renewed_at = NEVER
                return f"not renewed for {self._timings.renew_deadline:g} s"
            still = await self._attempt(self._renew, min(left, self._timings.attempt))
            if still is False:
                self._renewed_at = NEVER
                return "another replica holds the Lease"
            due = self._timings.retry if still else self._timings.retry / 2
            # As asked, but not so long that the Lease is lost for want of a last try.
            due = max(due, min(self._leave_alone, self._seconds_left() / 2))

    async def release(self) -> None:
        """Give the Lease back if this process still leads, so that another may lead at once."""
        if not self.holds():
            return
        left, self._renewed_at = self._seconds_left(), NEVER
        await self._attempt(lambda: self._overwrite("", 1), min(left, self._timings.attempt))

    def _seconds_left(self) -> float:
        return decision.seconds_to_deadline(self._renewed_at, self._clock(), self._timings)

    async def _attempt(
        self, request: Callable[[], Awaitable[Result]], seconds: float
    ) -> Result | None:
        """Returns the result of `request`; None if it failed or took longer than `seconds`."""
        failure, self._leave_alone = "", 0.0
        try:
            async with asyncio.timeout(seconds):
                return await request()
        except LeaseTakenError:
            self._heard_at = self._clock()
        except SERVER_AWAY as error:
            failure, self._leave_alone = brief(error), retry_after(error)
            if failure != self._last_failure:
                _logger.warning("the Lease can't be read or written: %s", failure)
        except Exception as error:
            failure = repr(error)
            if failure != self._last_failure:
                _logger.exception("the Lease can't be read or written")
        finally:
            self._last_failure = failure
        return None

    async def _try_to_take(self) -> float:
        record = await self._store.read()
        now = self._clock()
        self._heard_at = now
        self._seen_lease = decision.seen_now(self._seen_lease, record, now, self._timings.lease)
        resumed = self._identity if self._may_resume else ""
        wait = decision.seconds_until_free(self._seen_lease, resumed, now)
        if wait <= 0:
            self._may_resume = False
            # Our time counts from before the request, others' from after it.
            now = self._clock()
            self._wrote(await self._store.write(self._identity, self._timings.lease))
            self._renewed_at = now
        return wait

    async def _renew(self) -> bool:
        now = self._clock()
        held = await self._overwrite(self._identity, self._timings.lease)
        if held:
            self._renewed_at = now
        return held

    async def _overwrite(self, holder: str, lease: float) -> bool:
        """Write the Lease unless another replica holds it.  Returns whether it was written."""
        try:
            self._wrote(await self._store.write(holder, lease))
        except LeaseTakenError:
            # Perhaps only a label was set, or our own last write came through late.
            record = await self._store.read()
            if record is not None and record.holder not in ("", self._identity):
                return False
            self._wrote(await self._store.write(holder, lease))
        return True

    def _wrote(self, record: LeaseRecord) -> None:
        now = self._heard_at = self._clock()
        self._seen_lease = decision.seen_now(self._seen_lease, record, now, self._timings.lease)


async def silence_leaders(store: LeaseStore, identity: str, timings: Timings, quiet: float) -> None:
    """Take the Lease from its holder, and wait until that one has stopped leading.

    No replica leads in the `quiet` seconds after this has taken the Lease.
    """
    while True:
        record = await store.read()
        try:
            await store.write(identity, quiet)
        except LeaseTakenError:
            continue
        if record is not None and record.holder not in ("", identity):
            await asyncio.sleep(max(record.lease, timings.lease))
        return
