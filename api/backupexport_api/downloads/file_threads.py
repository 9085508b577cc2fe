"""Threads for file I/O alone: a network file system that is away may block each call for ever."""

import asyncio
import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")

# Many more than there are downloads: so many wait only where all threads are blocked.
_MOST_WAITING = 1000

_log = logging.getLogger(__name__)


class ThreadsBusyError(Exception):
    """Too many calls wait already."""


class FileThreads:
    """Up to `count` threads, each started when it is first needed."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._started = 0
        self._calls: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()

    async def run(
        self, function: Callable[[], T], discard: Callable[[T], object] = lambda _: None
    ) -> T:
        """Return what `function` returns in a thread; raises ThreadsBusyError.

        Where the caller is cancelled meanwhile, `discard` gets the result.
        """
        if self._calls.qsize() >= _MOST_WAITING:
            raise ThreadsBusyError
        future: Future[T] = Future()

        def call() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function())
                except Exception as error:  # noqa: BLE001 - raised where it is awaited
                    future.set_exception(error)

        def drop(done: Future[T]) -> None:
            if not done.cancelled() and done.exception() is None:
                self.run_later(lambda: discard(done.result()))

        self.run_later(call)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            future.add_done_callback(drop)
            raise

    def run_later(self, function: Callable[[], object]) -> None:
        """Call `function` in a thread without waiting for it."""
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
            # Else what it holds would live until this thread's next call.
            del call
