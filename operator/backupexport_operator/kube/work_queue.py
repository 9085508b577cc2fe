"""Runs work by key, as client-go's workqueue does: never twice at once, retried, urgent first."""

import asyncio
import contextlib
import heapq
import itertools
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from backupexport_operator.kube.client import SERVER_AWAY, brief, retry_after

_logger = logging.getLogger(__name__)

Key = TypeVar("Key", bound=Hashable)

FIRST_RETRY_SECONDS = 0.2
LONGEST_RETRY_SECONDS = 30.0
# News of a key ends its pause, but not before this part of it: else a stream of news would have the
# key tried without any pause, while the API server refuses.
NEWS_PAUSE_SHARE = 0.1
# After so many urgent keys it is another's turn, so none waits for ever.
_URGENT_IN_A_ROW = 8


class WorkQueue(Generic[Key]):
    """Runs `work(key)` for the keys that are asked for, at most `parallel` at once.

    A run that raises is tried again, with growing pauses, which an ask cuts short, and never before
    the API server's Retry-After.  `measure` gets each run's seconds, and its error if it raised.
    Keys that are urgent go first.
    """

    def __init__(
        self,
        work: Callable[[Key], Awaitable[None]],
        parallel: int,
        measure: Callable[[float, BaseException | None], None] = lambda *_: None,
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
        # Set by an ask, for each key that pauses.
        self._news: dict[Key, asyncio.Event] = {}
        self._later = _Later(self.ask)
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
            self._later.add(key, delay)
            return
        self._later.drop(key)
        if key in self._pauses:
            self._asked_again.add(key)
            if key in self._news:
                self._news[key].set()
        else:
            self._wait(key)

    async def stop(self) -> None:
        """Cancel what runs and what waits, and take nothing more.  Returns when nothing runs."""
        self._is_stopped = True
        self._later.clear()
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._pauses.clear()

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
        failed: BaseException | None = None
        began = time.monotonic()
        is_over = True
        try:
            try:
                await self._work(key)
            except (asyncio.CancelledError, KeyboardInterrupt, SystemExit, GeneratorExit):
                raise
            except BaseException as error:  # noqa: BLE001 - logged below, and tried again
                # A library in Rust may raise what is no Exception.
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

    async def _pause(self, key: Key, error: BaseException) -> None:
        pause = self._pauses[key]
        self._pauses[key] = min(2 * pause, LONGEST_RETRY_SECONDS)
        at_least = max(NEWS_PAUSE_SHARE * pause, retry_after(error))
        pause = max(pause, at_least)
        is_ours = not isinstance(error, SERVER_AWAY)
        level, told = logging.ERROR if is_ours else logging.WARNING, (key, pause, brief(error))
        trace = error if is_ours else None
        _logger.log(level, "work on %s failed, again in %.1f s: %s", *told, exc_info=trace)
        news = self._news[key] = asyncio.Event()
        if key in self._asked_again:
            news.set()
        try:
            await asyncio.sleep(at_least)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause - at_least):
                    await news.wait()
        finally:
            del self._news[key]


class _Later(Generic[Key]):
    """Calls `due(key)` once the key's time has come; with one timer for a hundred thousand keys."""

    def __init__(self, due: Callable[[Key], None]) -> None:
        self._due = due
        self._times: dict[Key, float] = {}
        # What is not in `_times` has been dropped.
        self._heap: list[tuple[float, int, Key]] = []
        self._numbers = itertools.count()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, key: Key, delay: float) -> None:
        """Call `due(key)` in `delay` seconds, unless it is to be called sooner."""
        at = asyncio.get_running_loop().time() + delay
        if self._times.get(key, at) < at:
            return
        self._times[key] = at
        if len(self._heap) > 2 * len(self._times) + 100:
            self._heap = [entry for entry in self._heap if self._times.get(entry[2]) == entry[0]]
            heapq.heapify(self._heap)
        heapq.heappush(self._heap, (at, next(self._numbers), key))
        if self._heap[0][0] == at:
            self._set_timer()

    def drop(self, key: Key) -> None:
        """Don't call `due(key)`."""
        self._times.pop(key, None)

    def clear(self) -> None:
        """Call nothing."""
        self._times.clear()
        self._heap.clear()
        self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(self._heap[0][0], self._ring) if self._heap else None

    def _ring(self) -> None:
        now = asyncio.get_running_loop().time()
        try:
            while self._heap and self._heap[0][0] <= now:
                at, _, key = heapq.heappop(self._heap)
                if self._times.get(key) == at:
                    del self._times[key]
                    self._due(key)
        finally:
            self._set_timer()
