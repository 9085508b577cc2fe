"""An object that is written without knowing its size: parts, of which several are on their way."""

import contextlib
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

from backupexport_contract.reasons import ExitCode
from backupexport_runtime.buckets import Bucket
from obstore import open_writer

from backupexport_runner.bucket.failures import BucketErrors
from backupexport_runner.bucket.part_sizes import MOST_MEMORY_BYTES, MOST_PARTS, part_bytes
from backupexport_runner.bucket.s3_client import (
    NoSuchUploadError,
    NotImplementedHereError,
    PreconditionError,
    S3Client,
    SentPart,
)
from backupexport_runner.storage.failures import TakenOverFailure
from backupexport_runner.task.failure import Failure, interrupted

_MOST_AT_ONCE = 4
_SECONDS_TO_NOTICE = 0.2
# For an answer to what is on its way; less while SIGTERM waits for the process.
_SECONDS_TO_SETTLE = 30.0
_HASTY_SECONDS = 0.5

Attributes = Mapping[str, str]


class Upload(Protocol):
    """An upload under way.  Methods raise Failure, except `abort`."""

    def write(self, data: bytes | memoryview, /) -> None:
        """Appends all of `data`."""

    def finish(self) -> None:
        """Waits until the server has all of it."""

    def complete(self) -> None:
        """Makes it the object.  Raises TakenOverFailure."""

    def abort(self) -> bool:
        """Returns whether nothing of it is left but, maybe, the object."""


@dataclass
class S3Upload:
    """An upload to S3; `check` raises Failure where the process has been asked to stop.

    `is_ours` tells, when an answer was lost, whether the object that is there is this one.
    """

    client: S3Client
    key: str
    attributes: Attributes
    estimated_bytes: int
    check: Callable[[], None]
    is_ours: Callable[[], bool]
    _state: threading.Condition = field(default_factory=threading.Condition, init=False)
    _upload_id: str = field(default="", init=False)
    _may_have_more: bool = field(default=False, init=False)
    _has_begun: bool = field(default=False, init=False)
    _is_stopped: bool = field(default=False, init=False)
    _part: memoryview | None = field(default=None, init=False)
    _filled: int = field(default=0, init=False)
    _number: int = field(default=0, init=False)
    _memory: int = field(default=0, init=False)
    # Of parts that were sent: new memory costs as much of the processor as a part's checksum.
    _used: list[memoryview] = field(default_factory=list, init=False)
    _on_their_way: int = field(default=0, init=False)
    _sent: list[SentPart] = field(default_factory=list, init=False)
    _failure: BaseException | None = field(default=None, init=False)
    _threads: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(_MOST_AT_ONCE, "part"), init=False
    )

    def write(self, data: bytes | memoryview, /) -> None:
        """Appends all of `data`."""
        left = memoryview(data)
        while left:
            if self._part is None:
                self._begin_part()
            assert self._part is not None  # noqa: S101 - just begun
            taken = min(len(left), len(self._part) - self._filled)
            self._part[self._filled : self._filled + taken] = left[:taken]
            self._filled += taken
            left = left[taken:]
            if self._filled == len(self._part):
                self._send()

    def finish(self) -> None:
        """Sends the last part and waits for all."""
        if self._part is not None:
            self._send()
        with self._state:
            while self._on_their_way and self._failure is None:
                self._state.wait(_SECONDS_TO_NOTICE)
                self.check()
        self._threads.shutdown(wait=False)
        self._raise_failure()

    def complete(self) -> None:
        """Makes the parts the object, if there is none."""
        parts = sorted(self._sent, key=lambda part: part.number)
        try:
            try:
                self.client.complete_upload(self.key, self._upload_id, parts, is_new=True)
            except NotImplementedHereError:
                self.client.complete_upload(self.key, self._upload_id, parts, is_new=False)
        except (NoSuchUploadError, PreconditionError):
            # The answer to an earlier try may have been lost.
            if not self.is_ours():
                raise TakenOverFailure from None
        except NotImplementedHereError:
            raise _not_implemented() from None
        self._has_begun = False
        if self._may_have_more:
            # The object is whole; a sweep finds what stays.
            with contextlib.suppress(Failure):
                self._abort_others()

    def abort(self) -> bool:
        """Stops the threads, and has the server forget the parts."""
        self._is_stopped = True
        self._threads.shutdown(wait=False)
        if not self._has_begun:
            return True
        with self._state:
            if self._on_their_way:
                seconds = _HASTY_SECONDS if self.client.is_hasty() else _SECONDS_TO_SETTLE
                self._state.wait_for(lambda: not self._on_their_way, seconds)
            is_settled = not self._on_their_way
        try:
            is_gone = not self._upload_id or self.client.abort_upload(self.key, self._upload_id)
            if self._may_have_more or not self._upload_id:
                is_gone &= self._abort_others()
        except Failure:
            return False
        return is_gone and is_settled

    def _abort_others(self) -> bool:
        """Aborts what tries to begin have left whose answers were lost."""
        others = self.client.uploads(self.key)
        gone = [self.client.abort_upload(self.key, each.upload_id) for each in others]
        return all(gone)

    def _begin(self) -> None:
        self._has_begun = True
        self._upload_id, self._may_have_more = self.client.create_upload(self.key, self.attributes)
        if not self._upload_id:
            raise _not_implemented()

    def _begin_part(self) -> None:
        """Waits until there is memory for the next part."""
        if not self._has_begun:
            self._begin()
        self._number += 1
        if self._number > MOST_PARTS:
            raise Failure(
                ExitCode.STORAGE_FULL,
                f"The file takes more than the {MOST_PARTS} parts that an object may have: export "
                "less, or into a volume, then start the export again.",
            )
        size = part_bytes(self._number, self.estimated_bytes)
        # One is filled, and one more waits for a thread.
        most = min(MOST_MEMORY_BYTES, (_MOST_AT_ONCE + 2) * size)
        with self._state:
            while self._memory + size > most and self._failure is None:
                self._state.wait(_SECONDS_TO_NOTICE)
                self.check()
            self._memory += size
            # Parts grow, and a smaller one may be sent after a larger one.
            self._used = [part for part in self._used if len(part) == size]
            used = self._used.pop() if self._used else None
        self._raise_failure()
        self._part, self._filled = used or memoryview(bytearray(size)), 0

    def _send(self) -> None:
        assert self._part is not None  # noqa: S101 - filled
        part, self._part = self._part, None
        with self._state:
            self._on_their_way += 1
        self._threads.submit(self._send_part, self._number, part, self._filled)

    def _send_part(self, number: int, part: memoryview, filled: int) -> None:
        try:
            if not self._is_stopped and self._failure is None:
                sent = self.client.send_part(
                    self.key, self._upload_id, number, part[:filled], self._go_on
                )
                self._sent.append(sent)
        except NoSuchUploadError:
            self._failure = self._failure or TakenOverFailure()
        except BaseException as error:  # noqa: BLE001 - the writing thread raises it
            self._failure = self._failure or error
        finally:
            with self._state:
                self._memory -= len(part)
                self._used.append(part)
                self._on_their_way -= 1
                self._state.notify_all()

    def _go_on(self) -> None:
        self.check()
        if self._is_stopped:
            raise interrupted()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure


def fixed_parts(estimated_bytes: int) -> tuple[int, int]:
    """Returns the size of parts that don't grow, and how many are sent at once.

    They have room for four times the estimate, or for a terabyte where there is none.
    """
    size = part_bytes(1, estimated_bytes * 4 or 10**12)
    return size, max(1, min(_MOST_AT_ONCE, MOST_MEMORY_BYTES // size - 1))


def _not_implemented() -> Failure:
    return Failure(
        ExitCode.STORAGE_UNWRITABLE,
        "The bucket's server doesn't know multipart uploads: use another one.",
    )


@dataclass
class ObstoreUpload:
    """An upload to another kind of bucket; `complete` replaces what has the name."""

    bucket: Bucket
    errors: BucketErrors
    key: str
    attributes: Attributes
    estimated_bytes: int
    check: Callable[[], None]
    _writer: Any = field(default=None, init=False)
    _is_open: bool = field(default=False, init=False)

    def write(self, data: bytes | memoryview, /) -> None:
        """Appends all of `data`."""
        self.check()
        with self.errors.told("write"):
            if self._writer is None:
                size, at_once = fixed_parts(self.estimated_bytes)
                self._writer = open_writer(
                    self.bucket.store,
                    self.key,
                    attributes=dict(self.attributes),
                    buffer_size=size,
                    max_concurrency=at_once,
                )
                self._writer.__enter__()
                self._is_open = True
            self._writer.write(data)

    def finish(self) -> None:
        """Waits for nothing: the last part goes with the end."""

    def complete(self) -> None:
        """Ends the upload."""
        with self.errors.told("complete an upload"):
            self._writer.close()
        self._is_open = False

    def abort(self) -> bool:
        """Has the server forget the parts."""
        if self._is_open:
            try:
                self._writer.__exit__(Failure, None, None)
            except Exception:  # noqa: BLE001 - whatever it is, something may be left
                return False
            self._is_open = False
        return True
