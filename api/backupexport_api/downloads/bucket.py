"""Objects of a bucket: whether they are there, where clients may fetch them, and their bytes.

What a bucket's server says is logged in its codes alone, and never told to clients.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Literal, TypeVar, cast

import obstore
from backupexport_contract.storages import Storage
from backupexport_runtime import buckets
from backupexport_runtime.buckets import BucketStore
from obstore.exceptions import BaseError, PreconditionError

from backupexport_api.auth.secret_files import SecretFiles
from backupexport_api.downloads.opened_file import StorageUnavailableError
from backupexport_api.downloads.problems import artifact_gone, bucket_unavailable
from backupexport_api.jobs.finished_file import FinishedFile

T = TypeVar("T")

# Each request's of a client who waits for an answer.
_ANSWER_SECONDS = 4.0
_READ_SECONDS = 60.0
# Of an object read in order each request asks for more, up to this: each download holds so much.
_MOST_AHEAD_BYTES = 1024 * 1024
# A server may end a body early; what it answers before, obstore tries again by itself.
_ATTEMPTS = 3

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>([A-Za-z0-9]{1,64})</Code>")

_log = logging.getLogger(__name__)


class ExportBucket:
    """The bucket of a storage; `directory` has its Secret's keys as files, those that there are."""

    unavailable = bucket_unavailable

    def __init__(self, storage: Storage, directory: Path) -> None:
        self._storage = storage
        self._directory = directory
        self._stores: SecretFiles[tuple[BucketStore, BucketStore]] | None = None

    def __str__(self) -> str:
        return self._storage.root

    @property
    def redirects(self) -> bool:
        """Whether clients fetch files from the bucket itself."""
        return self._storage.downloads == "redirect"

    def has(self, file: FinishedFile) -> bool:
        """Return whether the file is recorded to be in this bucket, where it would be put."""
        return file.url is not None and file.url == self._storage.url(file.path)

    async def open(self, file: FinishedFile) -> "BucketObject":
        """Find a job's file; raises ProblemError (410) or StorageUnavailableError."""
        try:
            found = await self.answer(lambda store: obstore.head_async(store, file.path))
        except FileNotFoundError as error:
            # So a server without the bucket answers, too, and here it can't say which of them.
            await self.answer(lambda store: _listed(store, file.path))
            _log.info("%s is not in %s", file.path, self)
            raise artifact_gone() from error
        if found["size"] != file.size:
            _log.warning("%s in %s has another size", file.path, self)
            raise artifact_gone()
        return BucketObject(self, file, found["e_tag"])

    async def url(self, method: Literal["GET", "HEAD"], file: FinishedFile) -> str:
        """Return a URL for `method` alone, good for a while; raises StorageUnavailableError."""
        lifetime = timedelta(seconds=self._storage.url_seconds)
        _, public = self._open_stores()
        return await _bounded(
            _ANSWER_SECONDS, obstore.sign_async(public, method, file.path, lifetime)
        )

    async def answer(
        self, call: Callable[[BucketStore], Awaitable[T]], seconds: float = _ANSWER_SECONDS
    ) -> T:
        """Return what `call` does; raises FileNotFoundError, StorageUnavailableError."""
        store, _ = self._open_stores()
        return await _bounded(seconds, call(store))

    def _open_stores(self) -> tuple[BucketStore, BucketStore]:
        """Return the stores to ask and to sign for; raises StorageUnavailableError."""
        try:
            if self._stores is None:
                keys = [self._directory / key for key in self._storage.secret_keys]
                self._stores = SecretFiles(keys, self._read_stores)
            return self._stores.current()
        except (BaseError, OSError, ValueError) as error:
            # Its text may have a secret in it.
            why = f"its settings or its Secret can't be used: {type(error).__name__}"
            raise StorageUnavailableError(why) from None

    def _read_stores(self) -> tuple[BucketStore, BucketStore]:
        store = buckets.open_bucket(self._storage, self._directory)
        public = _for_clients(self._storage)
        return store, store if public is None else buckets.open_bucket(public, self._directory)


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
        async def get(store: BucketStore) -> memoryview:
            options = {"range": (start, end), "if_match": self._etag}
            answer = await obstore.get_async(
                store, self._file.path, options=cast("obstore.GetOptions", options)
            )
            return memoryview(await answer.bytes_async())

        try:
            return await self._bucket.answer(lambda store: _again(lambda: get(store)), _READ_SECONDS)
        except FileNotFoundError:
            raise StorageUnavailableError("the object has gone") from None


def _for_clients(storage: Storage) -> Storage | None:
    """Return the storage as clients reach it, where that is elsewhere."""
    if storage.s3 is None or storage.s3.public_endpoint is None:
        return None
    seen = storage.s3.model_copy(update={"endpoint": storage.s3.public_endpoint})
    return storage.model_copy(update={"s3": seen})


async def _listed(store: BucketStore, path: str) -> None:
    """Ask for something that a server without the bucket answers otherwise."""
    async for _ in obstore.list(store, path):
        return


async def _again(call: Callable[[], Awaitable[T]]) -> T:
    for _ in range(_ATTEMPTS - 1):
        try:
            return await call()
        except PreconditionError:
            raise
        except BaseError as error:
            _log.info("a read of a bucket failed and is tried again: %s", _why(error))
    return await call()


async def _bounded(seconds: float, call: Awaitable[T]) -> T:
    try:
        async with asyncio.timeout(seconds):
            return await call
    except FileNotFoundError as error:
        # Which the server says of an object, or else of the bucket.
        if _CODE.search(str(error)) and "NoSuchKey" not in str(error):
            raise StorageUnavailableError(_why(error)) from None
        raise
    except (BaseError, OSError, ValueError) as error:
        raise StorageUnavailableError(_why(error)) from None


def _why(error: Exception) -> str:
    """Say what is known of an error, in words of ours and codes of the server's."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, PreconditionError):
        return "another object is in its place"
    text = str(error)
    codes = [found[1] for found in (_STATUS.search(text), _CODE.search(text)) if found]
    return " ".join([type(error).__name__, *codes])
