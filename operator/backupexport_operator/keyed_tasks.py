"""Runs one piece of work a key at a time, again where it was asked for meanwhile or failed.

The same contract as the work queue of Go controllers
(https://pkg.go.dev/k8s.io/client-go/util/workqueue): a key that is asked for while it waits is
one run, while it runs one more run; different keys run side by side.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from backupexport_operator.slots import Slots

_logger = logging.getLogger(__name__)

Key = TypeVar("Key", bound=Hashable)

FIRST_RETRY_SECONDS = 0.2
LONGEST_RETRY_SECONDS = 30.0


class KeyedTasks(Generic[Key]):
    """At most `parallel` runs of `work` at once, never two of one key.

    Errors of `expected_errors` (a server that is away) are logged without a traceback, all of
    them as `describe` puts them.  `measure` gets each run's seconds, and its error.  Keys that
    are urgent wait in a line of their own.
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
        """How many keys run or wait, without those that are due later."""
        return len(self._tasks)

    def ask(self, key: Key, delay: float = 0.0) -> None:
        """Run `work(key)` soon, or after `delay` seconds; an earlier ask wins."""
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
        """Cancel what runs and what waits, take nothing more; returns when nothing runs."""
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
