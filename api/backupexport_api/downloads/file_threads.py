"""Threads for file I/O alone.

A network's file system that has gone holds each call for ever.  It may hold these few threads,
but neither the event loop nor the threads that anything else needs, nor the end of the process.
"""

import asyncio
import logging
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

# Many more than all downloads together wait for, unless no thread comes back.
_MOST_WAITING = 1000

_log = logging.getLogger(__name__)


class ThreadsBusyError(Exception):
    """So many calls wait already that none more is taken."""


class FileThreads:
    """At most `count` threads, started when they are needed."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._started = 0
        self._calls: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()

    async def run(
        self, function: Callable[[], T], discard: Callable[[T], object] = lambda _: None
    ) -> T:
        """Call `function` in a thread; ThreadsBusyError.

        Whoever waits may be cancelled at any time, and the call goes on once it has begun:
        `discard` then gets what it returned.
        """
        if self._calls.qsize() >= _MOST_WAITING:
            raise ThreadsBusyError
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def call() -> None:
            if future.cancelled():
                return
            try:
                result = function()
            except Exception as error:  # noqa: BLE001 - the one who waits handles it
                _tell(loop, fail, error)
                return
            if not _tell(loop, deliver, result):
                discard(result)

        def fail(error: Exception) -> None:
            if not future.cancelled():
                future.set_exception(error)

        def deliver(result: T) -> None:
            if future.cancelled():
                self.run_later(lambda: discard(result))
            else:
                future.set_result(result)

        self.run_later(call)
        return await future

    def run_later(self, function: Callable[[], object]) -> None:
        """Call `function` in a thread, for nobody to wait for."""
        self._calls.put(function)
        if self._started < self._count:
            self._started += 1
            # A daemon: a thread that hangs must not hold up the end of the process.
            threading.Thread(target=self._work, name="file-io", daemon=True).start()

    def _work(self) -> None:
        while True:
            call = self._calls.get()
            try:
                call()
            except Exception:  # noqa: BLE001 - the next call needs this thread
                _log.exception("file I/O that nobody waits for failed")
            # Or it would live, and what it holds, for as long as this thread has nothing to do.
            del call


def _tell(loop: asyncio.AbstractEventLoop, function: Callable[[Any], None], what: object) -> bool:
    """Call `function` on the event loop; False where that has ended."""
    try:
        loop.call_soon_threadsafe(function, what)
    except RuntimeError:
        return False
    return True
