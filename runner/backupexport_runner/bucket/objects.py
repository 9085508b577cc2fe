"""Small requests to a bucket of any kind: read, look, list, write, remove."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import obstore
from backupexport_runtime.buckets import Bucket, problem_of
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

from backupexport_runner.bucket.failures import BucketErrors

Attributes = Mapping[str, str]
_PER_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Found:
    """An object that is there; `attempt` is that of its metadata, empty for none."""

    size: int
    etag: str
    modified_at: datetime
    attempt: str
    is_versioned: bool


@dataclass(frozen=True, slots=True)
class Objects:
    """The objects below the prefix.  Methods raise Failure."""

    bucket: Bucket
    errors: BucketErrors

    def look_up(self, key: str) -> Found | None:
        """Returns what the object is; None if there is none."""
        with self.errors.told("read (s3:GetObject)"):
            try:
                answer = self._head(key)
            except FileNotFoundError as error:
                self.require_bucket(error)
                return None
        meta, attributes = answer.meta, dict(answer.attributes)
        attempt = str(attributes.get("attempt", ""))
        etag = meta["e_tag"] or ""
        is_versioned = meta["version"] not in (None, "null")
        return Found(meta["size"], etag, meta["last_modified"], attempt, is_versioned)

    def read(self, key: str, most_bytes: int) -> bytes | None:
        """Returns the first bytes of the object; None if there is none."""
        with self.errors.told("read (s3:GetObject)"):
            try:
                answer = obstore.get(self.bucket.store, key)
                if answer.meta["size"] <= most_bytes:
                    return bytes(answer.bytes())
                return bytes(obstore.get_range(self.bucket.store, key, start=0, end=most_bytes))
            except FileNotFoundError as error:
                self.require_bucket(error)
                return None

    def read_range(self, key: str, offset: int, size: int, etag: str) -> bytes | None:
        """Returns these bytes; None if the object is gone or another one."""
        if not size:
            return b""
        options: Any = {"range": (offset, offset + size)} | ({"if_match": etag} if etag else {})
        with self.errors.told("read (s3:GetObject)"):
            try:
                return bytes(obstore.get(self.bucket.store, key, options=options).bytes())
            except (FileNotFoundError, PreconditionError):
                return None

    def put(self, key: str, content: bytes, attributes: Attributes) -> None:
        """Writes the object, in the place of what is there."""
        self._put(key, content, attributes, "overwrite")

    def create(self, key: str, content: bytes, attributes: Attributes) -> bool:
        """Writes the object; returns False if one is there, maybe from a try without an answer."""
        try:
            self._put(key, content, attributes, "create")
        except (AlreadyExistsError, PreconditionError):
            return False
        return True

    def _put(self, key: str, content: bytes, attributes: Attributes, mode: Any) -> None:
        with self.errors.told("write (s3:PutObject)", (AlreadyExistsError, PreconditionError)):
            try:
                obstore.put(
                    self.bucket.store,
                    key,
                    content,
                    attributes=dict(attributes),
                    mode=mode,
                    use_multipart=False,
                )
            except FileNotFoundError as error:
                raise self.errors.not_found(error, "write (s3:PutObject)") from None

    def put_json(self, key: str, fields: Mapping[str, Any]) -> None:
        """Writes a small object of JSON."""
        text = json.dumps(fields, indent=2) + "\n"
        self.put(key, text.encode(), {"Content-Type": "application/json"})

    def remove(self, key: str) -> bool:
        """Removes the object; returns False if there is none, as far as the server tells."""
        with self.errors.told("remove (s3:DeleteObject)"):
            try:
                obstore.delete(self.bucket.store, key)
            except FileNotFoundError as error:
                self.require_bucket(error)
                return False
        return True

    def beside(self, directory: str, begin: str) -> Iterator[tuple[str, datetime]]:
        """Yields the names in the directory that begin so, and when each was written."""
        prefix = f"{directory}/"
        with self.errors.told("list (s3:ListBucket)"):
            # What is listed begins after the offset, in the order of the keys.
            pages = obstore.list(
                self.bucket.store, directory, offset=prefix + begin, chunk_size=_PER_PAGE
            )
            for page in pages:
                for each in page:
                    name = each["path"].removeprefix(prefix)
                    if not name.startswith(begin):
                        return
                    if "/" not in name:
                        yield name, each["last_modified"]

    def sizes(self, directory: str) -> Iterator[tuple[str, int]]:
        """Yields the last segments of all keys below the directory, and the objects' sizes."""
        with self.errors.told("list (s3:ListBucket)"):
            for page in obstore.list(self.bucket.store, directory, chunk_size=_PER_PAGE):
                for each in page:
                    yield each["path"].rpartition("/")[2], each["size"]

    def _head(self, key: str) -> "obstore.GetResult":
        try:
            return obstore.get(self.bucket.store, key, options={"head": True})
        except BaseError as error:
            if problem_of(error).status is not None:
                # The answer to HEAD has no words: that to GET tells why.
                obstore.get_range(self.bucket.store, key, start=0, end=1)
            raise

    def require_bucket(self, error: FileNotFoundError) -> None:
        """Raises Failure if not the object, but the bucket isn't there."""
        self.errors.require_bucket(error)
