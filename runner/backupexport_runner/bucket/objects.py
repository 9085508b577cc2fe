"""Small requests to a bucket of any kind: read, look, list, write, remove."""

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import obstore
from backupexport_runtime.buckets import Bucket, Store, problem_of
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

from backupexport_runner.bucket.failures import BucketErrors

T = TypeVar("T")

Attributes = Mapping[str, str]
_PER_PAGE = 1000
# Answers that end early, which obstore doesn't ask for again.
_MOST_CUTS = 2
_CUT = re.compile("request or response body|decoding response body")
_READ, _LIST = "read (s3:GetObject)", "list (s3:ListBucket)"


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
        answer = self._asked(_READ, lambda store: self._unless_missing(lambda: _head(store, key)))
        if answer is None:
            return None
        meta, attributes = answer.meta, dict(answer.attributes)
        attempt = str(attributes.get("attempt", ""))
        etag = meta["e_tag"] or ""
        is_versioned = meta["version"] not in (None, "null")
        return Found(meta["size"], etag, meta["last_modified"], attempt, is_versioned)

    def read(self, key: str, most_bytes: int) -> bytes | None:
        """Returns the first bytes of the object; None if there is none."""

        def first(store: Store) -> bytes:
            answer = obstore.get(store, key)
            if answer.meta["size"] <= most_bytes:
                return bytes(answer.bytes())
            return bytes(obstore.get_range(store, key, start=0, end=most_bytes))

        return self._asked(_READ, lambda store: self._unless_missing(lambda: first(store)))

    def read_range(self, key: str, offset: int, size: int, etag: str) -> bytes | None:
        """Returns these bytes; None if the object is gone or another one."""
        if not size:
            return b""
        options: Any = {"range": (offset, offset + size)} | ({"if_match": etag} if etag else {})

        def piece(store: Store) -> bytes | None:
            with contextlib.suppress(PreconditionError):
                return bytes(obstore.get(store, key, options=options).bytes())
            return None

        return self._asked(_READ, lambda store: self._unless_missing(lambda: piece(store)))

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
        self._asked(
            "write (s3:PutObject)",
            lambda store: obstore.put(
                store,
                key,
                content,
                attributes=dict(attributes),
                mode=mode,
                use_multipart=False,
            ),
            (AlreadyExistsError, PreconditionError),
        )

    def put_json(self, key: str, fields: Mapping[str, Any]) -> None:
        """Writes a small object of JSON."""
        text = json.dumps(fields, indent=2) + "\n"
        self.put(key, text.encode(), {"Content-Type": "application/json"})

    def remove(self, key: str) -> bool:
        """Removes the object; returns False if there is none, as far as the server tells."""

        def removed(store: Store) -> bool:
            obstore.delete(store, key)
            return True

        return bool(
            self._asked(
                "remove (s3:DeleteObject)",
                lambda store: self._unless_missing(lambda: removed(store)),
            )
        )

    def beside(self, directory: str, begin: str) -> list[tuple[str, datetime]]:
        """Returns the names in the directory that begin so, and when each was written."""
        prefix = f"{directory}/"

        def listed(store: Store) -> list[tuple[str, datetime]]:
            found: list[tuple[str, datetime]] = []
            # What is listed begins after the offset, in the order of the keys.
            pages = obstore.list(store, directory, offset=prefix + begin, chunk_size=_PER_PAGE)
            for page in pages:
                for each in page:
                    name = each["path"].removeprefix(prefix)
                    if not name.startswith(begin):
                        return found
                    if "/" not in name:
                        found.append((name, each["last_modified"]))
            return found

        return self._asked(_LIST, listed)

    def sizes(self, directory: str) -> Iterator[tuple[str, int]]:
        """Yields the last segments of all keys below the directory, and the objects' sizes."""
        with self.errors.told(_LIST):
            for page in obstore.list(self.bucket.store, directory, chunk_size=_PER_PAGE):
                for each in page:
                    yield each["path"].rpartition("/")[2], each["size"]

    def _asked(
        self,
        action: str,
        ask: Callable[[Store], T],
        known: tuple[type[Exception], ...] = (),
    ) -> T:
        def asked() -> T:
            with self.errors.told(action, known):
                for _ in range(_MOST_CUTS):
                    try:
                        return ask(self.bucket.store)
                    except BaseError as error:
                        if _CUT.search(str(error)) is None:
                            raise
                return ask(self.bucket.store)

        return self.errors.patiently(asked)

    def _unless_missing(self, ask: Callable[[], T]) -> T | None:
        """Returns what `ask` returns; None if the object, but not its bucket, is missing."""
        try:
            return ask()
        except FileNotFoundError as error:
            self.errors.require_bucket(error)
            return None


def _head(store: Store, key: str) -> "obstore.GetResult":
    try:
        return obstore.get(store, key, options={"head": True})
    except (BaseError, FileNotFoundError) as error:
        if problem_of(error).status is not None:
            # The answer to HEAD has no words: that to GET tells why.
            obstore.get_range(store, key, start=0, end=1)
        raise
