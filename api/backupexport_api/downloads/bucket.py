"""Objects of a bucket: whether they are there, where clients may fetch them, and their bytes.

What a bucket's server says is logged in its codes alone, and never told to clients.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Literal, TypeVar, cast

import obstore
from backupexport_contract.storages import Storage
from backupexport_runtime.buckets import Bucket, CredentialsError, Patience, Store, problem_of
from obstore.exceptions import BaseError, PreconditionError

from backupexport_api.downloads.opened_file import StorageUnavailableError
from backupexport_api.downloads.problems import artifact_gone, bucket_unavailable
from backupexport_api.jobs.finished_file import FinishedFile

T = TypeVar("T")

# Each request's of a client who waits for an answer.
_ANSWER_SECONDS = 4.0
_READ_SECONDS = 60.0
# Of an object read in order each request asks for more, up to this: each download holds so much.
_MOST_AHEAD_BYTES = 1024 * 1024
_PATIENCE = Patience(connect=3.0, request=30.0, retries=2, retrying=3.0)
# A server may end a body early, or be short of breath for longer than that.
_ATTEMPTS = 3

_REPLACED = "another object is in its place"

_log = logging.getLogger(__name__)


class ExportBucket:
    """The bucket of a storage; `directory` has its Secret's keys as files, those that there are."""

    unavailable = bucket_unavailable

    def __init__(self, storage: Storage, directory: Path) -> None:
        self._storage = storage
        self._asked = Bucket(storage, directory, _PATIENCE)
        self._signed_for = Bucket(storage, directory, _PATIENCE, is_public=True)

    def __str__(self) -> str:
        return self._storage.root

    @property
    def redirects(self) -> bool:
        """Whether clients fetch files from the bucket itself."""
        return self._storage.downloads == "redirect"

    def has(self, file: FinishedFile) -> bool:
        """Return whether the file is recorded to be in this bucket, where it would be put."""
        root = self._storage.root
        return file.url == f"{root}/{file.path}" and self._storage.is_at(root, file.endpoint)

    async def open(self, file: FinishedFile) -> "BucketObject":
        """Find a job's file; raises ProblemError (410) or StorageUnavailableError."""
        try:
            found = await self.answer(
                lambda store: obstore.head_async(store, file.path), _ANSWER_SECONDS
            )
        except FileNotFoundError as error:
            await self._require_bucket(file)
            _log.info("%s is not in %s", file.path, self)
            raise artifact_gone() from error
        if found["size"] != file.size:
            _log.warning("%s in %s has another size", file.path, self)
            raise artifact_gone()
        return BucketObject(self, file, found["e_tag"])

    async def _require_bucket(self, file: FinishedFile) -> None:
        """Find the bucket: without one, HEAD of an object has the same answer, and no words."""

        async def listed(store: Store) -> None:
            async for _ in obstore.list(store, file.path):
                return

        try:
            await self.answer(listed, _ANSWER_SECONDS)
        except FileNotFoundError:
            raise StorageUnavailableError("no such bucket") from None

    async def url(self, method: Literal["GET", "HEAD"], file: FinishedFile) -> str:
        """Return a URL for `method` alone, good for a while; raises StorageUnavailableError."""
        lifetime = timedelta(seconds=self._storage.url_seconds)
        return await _answer(
            self._signed_for,
            lambda store: obstore.sign_async(store, method, file.path, lifetime),
            _ANSWER_SECONDS,
        )

    async def answer(self, call: Callable[[Store], Awaitable[T]], seconds: float) -> T:
        """Return what `call` does; raises FileNotFoundError, StorageUnavailableError."""
        return await _answer(self._asked, call, seconds)


class BucketObject:
    """An object of a bucket, as it was found: of another one in its place nothing is read."""

    def __init__(self, bucket: ExportBucket, file: FinishedFile, etag: str | None) -> None:
        self._bucket = bucket
        self._file = file
        self._etag = etag
        self._start, self._held = 0, memoryview(b"")

    async def read(self, start: int, count: int) -> bytes:
        """Return up to `count` bytes, none at the file's end; raises StorageUnavailableError."""
        end = self._start + len(self._held)
        if not self._start <= start < end:
            # Nobody knows how far a client gets: the first request asks for no more than this.
            ahead = min(2 * len(self._held), _MOST_AHEAD_BYTES) if start == end else 0
            # Let go of what is read before there is more.
            self._start, self._held = start, memoryview(b"")
            last = min(start + max(count, ahead), self._file.size)
            if start < last:
                self._held = await self._fetched(start, last)
        place = start - self._start
        return bytes(self._held[place : place + count])

    def close(self) -> None:
        """Let go of what is held."""
        self._held = memoryview(b"")

    async def _fetched(self, start: int, end: int) -> memoryview:
        async def get(store: Store) -> memoryview:
            options = {"range": (start, end), "if_match": self._etag}
            answer = await obstore.get_async(
                store, self._file.path, options=cast("obstore.GetOptions", options)
            )
            # Not every server heeds If-Match.
            if answer.meta["e_tag"] != self._etag:
                raise StorageUnavailableError(_REPLACED)
            return memoryview(await answer.bytes_async())

        try:
            return await self._bucket.answer(
                lambda store: _again(lambda: get(store)), _READ_SECONDS
            )
        except FileNotFoundError:
            raise StorageUnavailableError("the object has gone") from None


async def _again(call: Callable[[], Awaitable[T]]) -> T:
    for _ in range(_ATTEMPTS - 1):
        try:
            return await call()
        except PreconditionError:
            raise
        except BaseError as error:
            _log.info("a read of a bucket failed and is tried again: %s", _why(error))
    return await call()


async def _answer(bucket: Bucket, call: Callable[[Store], Awaitable[T]], seconds: float) -> T:
    try:
        async with asyncio.timeout(seconds):
            return await call(bucket.store)
    except FileNotFoundError as error:
        # Which a server says of an object, or else of the bucket.
        if problem_of(error).code in ("", "NoSuchKey"):
            raise
        raise StorageUnavailableError(_why(error)) from None
    except CredentialsError as error:
        raise StorageUnavailableError(f"its Secret can't be used: {error}") from None
    except (BaseError, OSError, ValueError) as error:
        raise StorageUnavailableError(_why(error)) from None


def _why(error: Exception) -> str:
    """Say what is known of an error, without a word of the server's."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, PreconditionError):
        return _REPLACED
    problem = problem_of(error)
    told = (str(problem.status or ""), problem.code)
    return " ".join(filter(None, (type(error).__name__, *told)))
