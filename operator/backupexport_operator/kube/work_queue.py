"""Runs work by key, as client-go's workqueue does: never twice at once, retried, urgent first."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

_logger = logging.getLogger(__name__)

Key = TypeVar("Key", bound=Hashable)

FIRST_RETRY_SECONDS = 0.2
LONGEST_RETRY_SECONDS = 30.0
# After so many urgent ones it is another's turn, so nobody waits for ever.
_URGENT_IN_A_ROW = 8


class Slots:
    """A semaphore of `number`; urgent ones wait in a line of their own."""

    def __init__(self, number: int) -> None:
        self._free = number
        self._urgent: deque[asyncio.Future[None]] = deque()
        self._others: deque[asyncio.Future[None]] = deque()
        self._in_a_row = 0

    @asynccontextmanager
    async def one(self, *, urgent: bool) -> AsyncIterator[None]:
        """Wait for a slot, and hold it in the context."""
        if self._free > 0:
            self._free -= 1
        else:
            await self._wait(self._urgent if urgent else self._others)
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, line: deque[asyncio.Future[None]]) -> None:
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                # The slot came in the same moment: let the next one have it.
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        while self._urgent or self._others:
            fast = bool(self._urgent) and (not self._others or self._in_a_row < _URGENT_IN_A_ROW)
            self._in_a_row = self._in_a_row + 1 if fast else 0
            place = (self._urgent if fast else self._others).popleft()
            if not place.done():
                place.set_result(None)
                return
        self._free += 1


class WorkQueue(Generic[Key]):
    """Runs `work(key)` for the keys that are asked for, at most `parallel` at once.

    A run that raises is tried again, with growing pauses.  Errors are logged as `describe` puts
    them, those of `expected_errors` (a server that is away) without a traceback.  `measure` gets
    each run's seconds, and its error if it raised.  Keys that are urgent go first.
    """

    def __init__(
        self,
        work: Callable[[Key], Awaitable[None]],
        parallel: int,
        expected_errors: tuple[type[Exception], ...] = (),
        describe: Callable[[Exception], str] = str,
        measure: Callable[[float, Exception | None], None] = lambda *_: None,
        is_urgent: Callable[[Key], bool] = lambda _: False,
    ) -> None:
        self._work = work
        self._describe = describe
        self._measure = measure
        self._is_urgent = is_urgent
        self._expected_errors = expected_errors
        self._slots = Slots(parallel)
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._asked_again: set[Key] = set()
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._is_stopped = False

    @property
    def length(self) -> int:
        """How many keys run or wait, without those that are asked for later."""
        return len(self._tasks)

    def ask(self, key: Key, delay: float = 0.0) -> None:
        """Run `work(key)` soon, or after `delay` seconds; of two times the earlier one counts."""
        if self._is_stopped:
            return
        if delay > 0:
            self._ask_later(key, delay)
            return
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        if key in self._tasks:
            self._asked_again.add(key)
        else:
            self._tasks[key] = asyncio.create_task(self._run(key))

    async def stop(self) -> None:
        """Cancel what runs and what waits, and take nothing more.  Returns when nothing runs."""
        self._is_stopped = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ask_later(self, key: Key, delay: float) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + delay
        known = self._timers.get(key)
        if known is not None:
            if known.when() <= due:
                return
            known.cancel()
        self._timers[key] = loop.call_at(due, self.ask, key)

    async def _run(self, key: Key) -> None:
        retry = FIRST_RETRY_SECONDS
        try:
            while True:
                self._asked_again.discard(key)
                began = time.monotonic()
                try:
                    async with self._slots.one(urgent=self._is_urgent(key)):
                        began = time.monotonic()
                        await self._work(key)
                    self._measure(time.monotonic() - began, None)
                except Exception as error:
                    self._measure(time.monotonic() - began, error)
                    expected = isinstance(error, self._expected_errors)
                    _logger.log(
                        logging.WARNING if expected else logging.ERROR,
                        "work on %s failed, again in %.1f s: %s",
                        key,
                        retry,
                        self._describe(error),
                        exc_info=None if expected else error,
                    )
                    await asyncio.sleep(retry)
                    retry = min(2 * retry, LONGEST_RETRY_SECONDS)
                    continue
                retry = FIRST_RETRY_SECONDS
                if key not in self._asked_again:
                    return
        finally:
            self._tasks.pop(key, None)
