"""A watch cache of one kind of resource, on the client library's SharedInformer.

Its list function is ours: it parses objects into small ones, puts time limits on requests so that
a dead connection is noticed, and pauses between calls while the API server is away.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from types import SimpleNamespace
from typing import Any, Generic, Self, TypeVar

from backupexport_contract.kubernetes_model import ObjectMeta
from kubernetes.informer import ADDED, BOOKMARK, DELETED, ERROR, MODIFIED, SharedInformer

from backupexport_api.kube.client import ListObjects
from backupexport_api.kube.errors import CALL_ERRORS, summary

# The API server sends a bookmark about once a minute: a watch without a word for longer than
# this is dead.
_WATCH_TIMEOUT = (5.0, 90.0)
# A list is read page by page, so that thousands of raw objects are never in memory at once.
_LIST_TIMEOUT = (5.0, 20.0)
_PAGE = 500

_SHORTEST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 10.0
_STOP_SECONDS = 3.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CachedResource:
    """A resource as caches hold it."""

    name: str
    resource_version: str

    @property
    def metadata(self) -> Self:
        """Itself: the client library's watch reads `metadata.resource_version`."""
        return self


@dataclass(frozen=True, slots=True)
class CacheState:
    """How fresh the cache of one kind of resource is."""

    resource: str
    is_synced: bool
    age_seconds: float
    """Seconds since the Kubernetes API was heard last; infinite before the first time."""


T = TypeVar("T", bound=CachedResource)


class Unreadable(CachedResource):
    """An object that our models can't read, such as a newer version's during an upgrade."""


class InformerSource(Generic[T]):
    """The cache of one kind of resource, filled by a watch; reading never waits."""

    def __init__(
        self,
        list_objects: ListObjects,
        plural: str,
        parse: Callable[[dict[str, Any]], T],
        on_change: Callable[[T], None] = lambda _: None,
        on_gone: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`parse` raises ValueError where it can't read an object, which then counts as gone."""
        # One thread calls on_change with each new version, on_gone with the name of what is gone.
        self.is_synced = False
        """Whether the cache was ever filled."""
        self._list_objects = partial(list_objects, plural=plural)
        self._plural = plural
        self._parse = parse
        self._stopping = threading.Event()
        self._pause = _SHORTEST_PAUSE_SECONDS
        self._last_call = float("-inf")
        self._last_contact = float("-inf")
        self._on_change = on_change
        self._on_gone = on_gone
        self._informer = SharedInformer(self._list_function(), key_func=attrgetter("name"))
        for event in (ADDED, MODIFIED):
            self._informer.add_event_handler(event, self._changed)
        self._informer.add_event_handler(DELETED, self._gone)
        self._informer.add_event_handler(BOOKMARK, lambda _: self._in_contact())
        self._informer.add_event_handler(ERROR, self._failed)

    def state(self) -> CacheState:
        """Return how fresh the cache is."""
        return CacheState(self._plural, self.is_synced, time.monotonic() - self._last_contact)

    def start(self) -> None:
        """Start the thread that fills the cache."""
        self._informer.start()

    def stop(self) -> None:
        """End the thread; one that is stuck ends with the process."""
        self._stopping.set()
        # SharedInformer.stop joins without a time limit.
        stopper = threading.Thread(target=self._informer.stop, daemon=True)
        stopper.start()
        stopper.join(_STOP_SECONDS)

    def _list_function(self) -> Callable[..., Any]:
        # The library's Watch makes each event's object with `from_dict` of the class that this
        # function is annotated to return.
        read = self._read

        class Event:
            @staticmethod
            def from_dict(data: dict[str, Any]) -> T | Unreadable:
                return read(data)

        def list_or_watch(**options: Any) -> Any:
            self._pace()
            return self._watch(options) if options.get("watch") else self._list()

        list_or_watch.__annotations__["return"] = Event
        return list_or_watch

    def _pace(self) -> None:
        """Wait until the last call is long enough ago: the informer itself retries at once."""
        due = self._last_call + self._pause
        if self._stopping.wait(max(0.0, due - time.monotonic())):
            raise OSError("stopping")
        self._last_call = time.monotonic()

    def _list(self) -> SimpleNamespace:
        items: list[Any] = []
        options: dict[str, Any] = {}
        while True:
            page = self._list_objects(limit=_PAGE, _request_timeout=_LIST_TIMEOUT, **options)
            items += [self._read(item) for item in page["items"]]
            metadata = page["metadata"]
            if not metadata.get("continue"):
                break
            options = {"_continue": metadata["continue"]}
        self._in_contact()
        # Only after its last list does a watch need no pause.
        self._last_call = float("-inf")
        version = ObjectMeta(name="", resource_version=metadata["resourceVersion"])
        return SimpleNamespace(items=items, metadata=version)

    def _watch(self, options: dict[str, Any]) -> Any:
        # The informer asks for a watch only once the list is in the cache.
        self.is_synced = True
        response = self._list_objects(
            allow_watch_bookmarks=True, _request_timeout=_WATCH_TIMEOUT, **options
        )
        self._in_contact()
        return response

    def _read(self, data: dict[str, Any]) -> T | Unreadable:
        try:
            return self._parse(data)
        except ValueError as error:
            metadata = ObjectMeta.model_validate(data["metadata"])
            _log.warning("can't read %s %s (%s)", self._plural, metadata.name, type(error).__name__)
            return Unreadable(metadata.name, metadata.resource_version)

    def _changed(self, item: T | Unreadable) -> None:
        self._in_contact()
        if isinstance(item, Unreadable):
            self._on_gone(item.name)
        else:
            self._on_change(item)

    def _gone(self, item: T | Unreadable) -> None:
        self._in_contact()
        self._on_gone(item.name)

    def _in_contact(self) -> None:
        self._last_contact = time.monotonic()
        self._pause = _SHORTEST_PAUSE_SECONDS

    def _failed(self, error: object) -> None:
        self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)
        if not self._stopping.is_set():
            _log.warning("watching %s: %s", self._plural, summary(error))


def _is_news(record: logging.LogRecord) -> bool:
    # `_failed` logs these errors in one line, without a stack trace.
    error = record.exc_info[1] if record.exc_info else None
    return record.levelno >= logging.ERROR and not isinstance(error, CALL_ERRORS)


logging.getLogger("kubernetes.informer.informer").addFilter(_is_news)
