"""Runs work by key, as client-go's workqueue does: never twice at once, retried, urgent first."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from backupexport_operator.kube.client import SERVER_AWAY, brief

_logger = logging.getLogger(__name__)

Key = TypeVar("Key", bound=Hashable)

FIRST_RETRY_SECONDS = 0.2
LONGEST_RETRY_SECONDS = 30.0
# After so many urgent keys it is another's turn, so none waits for ever.
_URGENT_IN_A_ROW = 8


class WorkQueue(Generic[Key]):
    """Runs `work(key)` for the keys that are asked for, at most `parallel` at once.

    A run that raises is tried again, with growing pauses.  `measure` gets each run's seconds, and
    its error if it raised.  Keys that are urgent go first.
    """

    def __init__(
        self,
        work: Callable[[Key], Awaitable[None]],
        parallel: int,
        measure: Callable[[float, Exception | None], None] = lambda *_: None,
        is_urgent: Callable[[Key], bool] = lambda _: False,
    ) -> None:
        self._work = work
        self._free = parallel
        self._measure = measure
        self._is_urgent = is_urgent
        # The pause after its next failure, for each key that runs, waits or pauses.
        self._pauses: dict[Key, float] = {}
        self._urgent: deque[Key] = deque()
        self._others: deque[Key] = deque()
        self._in_a_row = 0
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._asked_again: set[Key] = set()
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._is_stopped = False

    @property
    def length(self) -> int:
        """How many keys run or wait, without those that are asked for later."""
        return len(self._pauses)

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
        if key in self._pauses:
            self._asked_again.add(key)
        else:
            self._wait(key)

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
        self._pauses.clear()

    def _ask_later(self, key: Key, delay: float) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + delay
        known = self._timers.get(key)
        if known is not None:
            if known.when() <= due:
                return
            known.cancel()
        self._timers[key] = loop.call_at(due, self.ask, key)

    def _wait(self, key: Key) -> None:
        line = self._urgent if self._is_urgent(key) else self._others
        self._pauses.setdefault(key, FIRST_RETRY_SECONDS)
        line.append(key)
        self._start()

    def _start(self) -> None:
        while self._free and (self._urgent or self._others) and not self._is_stopped:
            fast = bool(self._urgent) and (not self._others or self._in_a_row < _URGENT_IN_A_ROW)
            self._in_a_row = self._in_a_row + 1 if fast else 0
            key = (self._urgent if fast else self._others).popleft()
            self._free -= 1
            self._tasks[key] = asyncio.create_task(self._run(key))

    async def _run(self, key: Key) -> None:
        self._asked_again.discard(key)
        failed = None
        began = time.monotonic()
        is_over = True
        try:
            try:
                await self._work(key)
            except Exception as error:  # noqa: BLE001 - logged below, and tried again
                failed = error
            finally:
                self._free += 1
                self._start()
            self._measure(time.monotonic() - began, failed)
            if failed is not None:
                await self._pause(key, failed)
            elif key in self._asked_again:
                self._pauses[key] = FIRST_RETRY_SECONDS
            else:
                return
            self._wait(key)
            is_over = False
        finally:
            # Whatever ended it, the next ask finds the key free.
            if is_over:
                self._pauses.pop(key, None)
                self._tasks.pop(key, None)

    async def _pause(self, key: Key, error: Exception) -> None:
        pause = self._pauses[key]
        self._pauses[key] = min(2 * pause, LONGEST_RETRY_SECONDS)
        is_ours = not isinstance(error, SERVER_AWAY)
        level, told = logging.ERROR if is_ours else logging.WARNING, (key, pause, brief(error))
        trace = error if is_ours else None
        _logger.log(level, "work on %s failed, again in %.1f s: %s", *told, exc_info=trace)
        await asyncio.sleep(pause)
