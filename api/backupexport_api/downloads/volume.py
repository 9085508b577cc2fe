"""Reads a volume with exports: in threads, and with a time limit for each call."""

import asyncio
import errno
import logging
import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import TypeVar

from backupexport_runtime import volume
from backupexport_runtime.volume import NotTheFileError

from backupexport_api.downloads.opened_file import StorageUnavailableError
from backupexport_api.downloads.problems import artifact_gone, volume_unavailable
from backupexport_api.jobs.finished_file import FinishedFile

T = TypeVar("T")

_THREADS = 4
# Many more than there are downloads: so many wait only where all threads are blocked.
_MOST_WAITING = 1000
_OPEN_SECONDS = 4.0
_READ_SECONDS = 60.0

_log = logging.getLogger(__name__)


class ThreadsBusyError(Exception):
    """Too many calls wait already."""


class FileThreads:
    """Up to `count` threads for file I/O alone: a network file system may block them for ever."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._started = 0
        self._calls: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()

    async def run(
        self, function: Callable[[], T], discard: Callable[[T], object] = lambda _: None
    ) -> T:
        """Return `function`'s result, or `discard` it where cancelled; raises ThreadsBusyError."""
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


class ExportFile:
    """An open file of an export, with the descriptor `number`; `close` it."""

    def __init__(self, number: int, threads: FileThreads) -> None:
        self._number = number
        self._threads = threads
        self._lock = threading.Lock()
        # It is closed once, and never during a read: then the number may be another file's.
        self._is_read = False
        self._is_closed = False

    async def read(self, start: int, count: int) -> bytes | bytearray:
        """Return up to `count` bytes, none at the file's end; raises StorageUnavailableError."""
        # Changing threads twice would cost more than reading what is cached.
        cached = self._read_cached(start, count)
        if cached is not None:
            return cached
        try:
            async with asyncio.timeout(_READ_SECONDS):
                return await self._threads.run(lambda: self._read(start, count))
        except (OSError, ThreadsBusyError) as error:
            raise StorageUnavailableError(_why(error)) from error

    def close(self) -> None:
        """Close the file in a thread, after a read that is under way."""
        self._threads.run_later(self._close)

    def _read_cached(self, start: int, count: int) -> bytearray | None:
        """Return what the page cache has of these bytes; None where a read would have to wait."""
        buffer = bytearray(count)
        with self._lock:
            if self._is_closed:
                return None
            try:
                read = os.preadv(self._number, [buffer], start, os.RWF_NOWAIT)
            except OSError:
                # Not cached, or not supported by the file system; `_read` raises real errors.
                return None
        del buffer[read:]
        return buffer or None

    def _read(self, start: int, count: int) -> bytes:
        """Read up to `count` bytes, however long it takes; none once it is closed."""
        with self._lock:
            if self._is_closed:
                return b""
            self._is_read = True
        try:
            return os.pread(self._number, count, start)
        finally:
            with self._lock:
                self._is_read = False
                close = self._is_closed
            if close:
                os.close(self._number)

    def _close(self) -> None:
        """Close it now, or after the read that is under way."""
        with self._lock:
            close = not (self._is_closed or self._is_read)
            self._is_closed = True
        if close:
            os.close(self._number)


class ExportVolume:
    """A volume, mounted at `root`."""

    unavailable = volume_unavailable

    def __init__(self, root: Path) -> None:
        self._root = root
        self._threads = FileThreads(_THREADS)

    def __str__(self) -> str:
        return "the volume"

    async def open(self, file: FinishedFile) -> ExportFile:
        """Open a job's file; raises ProblemError (410) or StorageUnavailableError."""
        try:
            async with asyncio.timeout(_OPEN_SECONDS):
                call = partial(volume.open_file, self._root, file.path, file.size)
                number = await self._threads.run(call, os.close)
        except NotTheFileError as error:
            _log.warning("%s on the volume is not what was exported: %s", file.path, error)
            raise artifact_gone() from error
        except (OSError, ThreadsBusyError) as error:
            if isinstance(error, OSError) and volume.is_missing(error):
                _log.info("%s is not on the volume: %s", file.path, _why(error))
                raise artifact_gone() from error
            raise StorageUnavailableError(_why(error)) from error
        return ExportFile(number, self._threads)


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError) and error.errno is None:
        return "no answer in time"
    if isinstance(error, OSError) and error.errno is not None:
        return errno.errorcode.get(error.errno, str(error.errno))
    return type(error).__name__
