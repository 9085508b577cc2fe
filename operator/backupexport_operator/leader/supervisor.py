"""What an operator process does until it is told to stop: candidate, leader, candidate again.

Whatever ends kopf (a lost Lease, an API server that is away, a dead watch, an error of ours), the
process stands for election again after a pause, which grows.  Only a kopf that can't be stopped, or
a fault that ends one term after the other, ends the process.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from backupexport_operator.leader.election import Leadership
from backupexport_operator.observed.watch_health import WatchHealth

_logger = logging.getLogger(__name__)

# All three, and to give the Lease back, take less than a pod's 30 s to end.
STOP_SECONDS = 12.0
CANCEL_SECONDS = 3.0
FAREWELL_SECONDS = 8.0

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0
# After kopf has run for so long, the next pause is the first one again.
GOOD_RUN = 60.0
# So many terms in a row that a fault ended before that: a new process may cure it.
MOST_FAULTS = 10
_LOOK_SECONDS = 1.0


class StuckError(Exception):
    """kopf does not end by cancelling, so the process has to end."""


class RepeatedFaultError(Exception):
    """One term after the other has ended by a fault, so the process has to end."""


@dataclass
class Term:
    """One time of leading, from kopf's start to its end."""

    watches: WatchHealth
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    started: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class Supervisor:
    """Leads while it may, and tells the probes how it is.

    `work` runs kopf until the term's `stop` is set; `farewell` is done last, before the Lease is
    given back.  A watch counts as dead after `dead_watch_seconds`, which ends the term; a candidate
    to whom the API server says nothing counts as cut off after `silence_seconds`.
    """

    leadership: Leadership
    work: Callable[[Term], Coroutine[Any, Any, None]]
    farewell: Callable[[], Awaitable[None]]
    new_watches: Callable[[], WatchHealth]
    dead_watch_seconds: float
    silence_seconds: float
    _stopping: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _term: Term | None = field(default=None, init=False)

    def stop(self) -> None:
        """Have `run` end; it gives the Lease back last."""
        self._stopping.set()

    def readiness_failures(self) -> list[str]:
        """Returns what keeps this process from its work, or from taking over."""
        if self._term is None:
            silent = self.leadership.seconds_unheard()
            if silent <= self.silence_seconds:
                return []
            return [f"the Kubernetes API is away for {silent:.0f} s"]
        if not (self._term.started.is_set() and self._term.watches.complete):
            return ["the first lists are not read yet"]
        return [f"the watch of {kind} is dead" for kind in self._dead(self._term)]

    async def run(self) -> None:
        """Run until `stop`.  Raises StuckError, RepeatedFaultError."""
        stopping = asyncio.create_task(self._stopping.wait())
        pause, faults = 0.0, 0
        try:
            while not self._stopping.is_set():
                if not await self.leadership.acquire(self._stopping):
                    continue
                seconds = await self._lead(stopping)
                if seconds is None:
                    pause, faults = 0.0, 0
                    continue
                # Another replica may succeed meanwhile.
                await self.leadership.release()
                faults = 1 if seconds >= GOOD_RUN else faults + 1
                if faults == MOST_FAULTS:
                    raise RepeatedFaultError(f"{faults} terms in a row have ended by a fault")
                pause = next_pause(pause, seconds)
                _logger.error("again in %g s", pause)
                await asyncio.wait({stopping}, timeout=pause)
        finally:
            stopping.cancel()
        try:
            async with asyncio.timeout(FAREWELL_SECONDS):
                await self.farewell()
        except Exception:
            _logger.exception("the last look at the namespace failed")
        await self.leadership.release()

    async def _lead(self, stopping: "asyncio.Task[Any]") -> float | None:
        """Lead for one term.  Returns how many seconds kopf ran well if a fault ended the term."""
        began = asyncio.get_running_loop().time()
        term = self._term = Term(self.new_watches())
        keeper = asyncio.create_task(self.leadership.keep())
        work = asyncio.create_task(self.work(term))
        death = asyncio.create_task(self._watch_dies(term))
        ran_well = None
        try:
            await asyncio.wait({keeper, work, death, stopping}, return_when=asyncio.FIRST_COMPLETED)
            lived = asyncio.get_running_loop().time() - began
            if work.done():
                ran_well = lived
            elif death.done():
                ran_well = max(0.0, lived - self.dead_watch_seconds)
                _logger.error("leads no more: the watch of %s is dead", ", ".join(death.result()))
            if keeper.done():
                _logger.error("leads no more: %s", keeper.exception() or keeper.result())
            await self._end(term, work)
        finally:
            self._term = None
            keeper.cancel()
            death.cancel()
        return ran_well

    def _dead(self, term: Term) -> list[str]:
        return term.watches.dead(self.dead_watch_seconds)

    async def _watch_dies(self, term: Term) -> list[str]:
        """Returns the kinds whose watches are dead, once one is."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if dead := self._dead(term):
                return dead

    async def _end(self, term: Term, work: "asyncio.Task[None]") -> None:
        term.stop.set()
        await asyncio.wait({work}, timeout=STOP_SECONDS)
        if not work.done():
            _logger.error("kopf did not end in %g s and is cancelled", STOP_SECONDS)
            work.cancel()
            await asyncio.wait({work}, timeout=CANCEL_SECONDS)
        if not work.done():
            raise StuckError("kopf does not end")
        if not work.cancelled() and work.exception() is not None:
            _logger.error("kopf ended by an error", exc_info=work.exception())


def next_pause(last: float, lived: float) -> float:
    """Returns the seconds to wait after kopf ended by itself, having run for `lived` seconds."""
    if last == 0 or lived >= GOOD_RUN:
        return FIRST_PAUSE
    return min(2 * last, LONGEST_PAUSE)
