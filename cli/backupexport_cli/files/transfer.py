"""Fetches what is missing of a file, over one connection or several."""

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.files.answer import ChangedError, read_answer
from backupexport_cli.files.body import Body, CutError
from backupexport_cli.files.checksum import FollowingChecksum
from backupexport_cli.files.failures import local_failure
from backupexport_cli.files.partial_file import PartialFile
from backupexport_cli.files.patience import Patience, Ramp
from backupexport_cli.files.segments import Claim, Plan
from backupexport_cli.files.wanted import WantedFile

if TYPE_CHECKING:
    import httpx

SEGMENT_BYTES = 64 * 1024 * 1024
MOST_CONNECTIONS = 4
# How far the checksum is told at once that the file has grown.
_STEP_BYTES = 1024 * 1024
_TICK_SECONDS = 0.1
# What a killed run loses.
_RECORD_SECONDS = 0.25
_RAMP_SECONDS = 3.0
_MOST_CHANGES = 3
_LONGEST_JOIN_SECONDS = 2.0


class FileSource(Protocol):
    """Where files are fetched from."""

    def open_file(
        self, job_id: str, start: int = 0, end: int | None = None, etag: str | None = None
    ) -> "AbstractContextManager[httpx.Response]":
        """Open a job's file from `start` to `end` (its last byte), unread."""


class Transfer:
    """One run of a download into a partial file."""

    def __init__(
        self,
        source: FileSource,
        wanted: WantedFile,
        part: PartialFile,
        *,
        connections: int | None = None,
        on_progress: Callable[[int], object] = lambda _done: None,
    ) -> None:
        """`connections`: as many from the start; as many as help where it is None."""
        self._source = source
        self._wanted = wanted
        self._part = part
        self._ramp = Ramp(MOST_CONNECTIONS) if connections is None else None
        self._target = connections or 1
        self._on_progress = on_progress
        self._plan = Plan(wanted.size, part.finished, SEGMENT_BYTES)
        self._patience = Patience()
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._workers: dict[threading.Thread, Body | None] = {}
        self._failure: BaseException | None = None
        self._checksum: FollowingChecksum | None = None

    def run(self) -> str:
        """Fetch all of it and return its SHA-256 (hex); raises CliError.

        Whatever ends it, what has come is noted for a later run.
        """
        for _ in range(_MOST_CHANGES):
            self._checksum = FollowingChecksum(self._part.descriptor)
            try:
                self._fetch_all()
                return self._checksum.result()
            except ChangedError:
                # What was fetched is of the file that is there no more.
                self._part.empty()
                self._plan.restart()
            except OSError as error:
                raise local_failure(error, self._part.path) from None
            finally:
                self._checksum.stop()
        raise CliError(
            ExitCode.CORRUPT,
            "The file changes on the server while it is fetched.",
            "Tell the server's administrators: an export's file never changes.",
        )

    def _fetch_all(self) -> None:
        self._stop.clear()
        self._failure = None
        recorded_at = measured_at = time.monotonic()
        measured = self._plan.fetched_bytes
        self._tell_checksum()
        try:
            while not self._plan.is_whole:
                self._start_workers()
                self._wait_a_tick()
                done, now = self._plan.fetched_bytes, time.monotonic()
                self._on_progress(done)
                if now - recorded_at >= _RECORD_SECONDS:
                    self._part.record(self._plan.finished)
                    recorded_at = now
                if self._ramp is not None and now - measured_at >= _RAMP_SECONDS:
                    self._target = self._ramp.measured((done - measured) / (now - measured_at))
                    measured, measured_at = done, now
                self._part.write_back(self._plan.frontier)
        except BaseException:
            self._end_workers()
            self._note_at_the_end()
            raise
        self._end_workers()
        self._on_progress(self._wanted.size)
        self._tell_checksum()

    def _wait_a_tick(self) -> None:
        """Wait for the end of a connection, but not for long; raises what ended one."""
        with self._changed:
            if self._failure is None and not self._plan.is_whole:
                self._changed.wait(_TICK_SECONDS)
            if self._failure is not None:
                raise self._failure

    def _note_at_the_end(self) -> None:
        try:
            self._part.record(self._plan.finished)
        except OSError:
            # What else went wrong is told.
            return

    def _start_workers(self) -> None:
        with self._changed:
            missing = self._target - len(self._workers)
            for _ in range(missing):
                is_only = not self._workers
                worker = threading.Thread(target=self._work, args=(is_only,), daemon=True)
                self._workers[worker] = None
                worker.start()

    def _end_workers(self) -> None:
        self._stop.set()
        with self._changed:
            workers = dict(self._workers)
            for body in workers.values():
                if body is not None:
                    body.abort()
        for worker in workers:
            # One that waits for a busy server writes nothing any more.
            worker.join(_LONGEST_JOIN_SECONDS)

    def _work(self, is_only: bool) -> None:
        try:
            self._fetch_claims(is_only=is_only)
        except BaseException as error:  # noqa: BLE001 - told by the thread that waits
            with self._changed:
                if self._failure is None:
                    self._failure = error
        finally:
            with self._changed:
                self._workers.pop(threading.current_thread())
                self._changed.notify()

    def _fetch_claims(self, *, is_only: bool) -> None:
        while not self._stop.is_set():
            with self._changed:
                if not is_only and len(self._workers) > self._target:
                    return
            claim = self._plan.claim(shared=self._target > 1)
            if claim is None:
                return
            try:
                self._fetch(claim)
            except CutError as error:
                self._wait_after(str(error))
            except CliError as error:
                if self._is_left_to_others():
                    return
                if not may_pass(error):
                    raise
                self._wait_after(error)
            finally:
                self._plan.release(claim)

    def _is_left_to_others(self) -> bool:
        """Return whether other connections are at work; then there are fewer from now on."""
        with self._changed:
            if len(self._workers) < 2:
                return False
            self._target = self._ramp.refused() if self._ramp else max(1, self._target - 1)
            return True

    def _wait_after(self, cut: CliError | str) -> None:
        if self._stop.is_set():
            return
        with self._changed:
            pause = self._patience.pause()
        if pause is not None:
            self._stop.wait(pause)
            return
        if isinstance(cut, CliError):
            raise cut
        raise CliError(
            ExitCode.UNREACHABLE,
            f"The connection was cut again and again ({cut}).",
            f"Go on from where it is: backupexport download {self._wanted.job_id}",
        )

    def _fetch(self, claim: Claim) -> None:
        start, etag = claim.position, self._part.etag
        end = None if claim.end == self._wanted.size else claim.end - 1
        with self._source.open_file(self._wanted.job_id, start, end, etag) as response:
            part = read_answer(response.status_code, response.headers, self._wanted, start, etag)
            if part.span.start != start and self._is_left_to_others():
                # The server sends no ranges: one connection must do.
                return
            if self._part.etag is None:
                self._part.etag = part.etag
            body = Body(response)
            with self._changed:
                self._workers[threading.current_thread()] = body
            try:
                self._take(claim, body, part.span.start, part.span.end)
            finally:
                with self._changed:
                    self._workers[threading.current_thread()] = None

    def _take(self, claim: Claim, body: Body, position: int, answer_end: int) -> None:
        """Write what is wanted of a body that begins at `position`.  Raises CutError, OSError."""
        told = claim.position
        for piece in body.pieces():
            # What comes before is of a server that sends the whole file only.
            view = memoryview(piece)[max(0, claim.position - position) :]
            position += len(piece)
            while view:
                if self._stop.is_set() or not self._has_more(claim, answer_end):
                    return
                data = view[: claim.left]
                self._part.write(data, claim.position)
                if self._checksum is not None:
                    self._checksum.wrote(data, claim.position)
                self._plan.advance(claim, len(data))
                self._patience.progressed()
                view = view[len(data) :]
            if claim.position - told >= _STEP_BYTES:
                self._tell_checksum()
                told = claim.position
            if not self._has_more(claim, answer_end):
                return
        raise CutError("the answer ended early")

    def _has_more(self, claim: Claim, answer_end: int) -> bool:
        return claim.left > 0 or self._plan.extend(claim, answer_end)

    def _tell_checksum(self) -> None:
        if self._checksum is not None:
            self._checksum.reach(self._plan.frontier)


def may_pass(error: CliError) -> bool:
    """Whether it is worth another try: away for now, or a signed address that has run out.

    The api has a code for each refusal of its own; a bucket has none that is read.
    """
    is_of_bucket = error.exit_code is ExitCode.NOT_ALLOWED and not error.code
    return error.exit_code is ExitCode.UNREACHABLE or is_of_bucket
