"""Where requests for exports are counted: in one storage for all replicas, or in memory.

slowapi has a fallback of its own, but there a second request that fails at the same time is a 500,
and up to a minute passes before it looks for the storage again.
"""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, cast

from backupexport_runtime.tls import TOO_STRICT
from limits.errors import ConfigurationError
from limits.storage import MemoryStorage, RedisStorage, storage_from_string

from backupexport_api.auth.secret_files import SecretFiles, read_secret

_log = logging.getLogger(__name__)

# What a storage that hangs may cost a request, and how often a request pays it.
_TIMEOUT_SECONDS = 0.25
_PAUSE_SECONDS = 1.0

_FORGET_SECONDS = 60.0


class ExportMemory(MemoryStorage):
    """The memory of one process; the library's keeps keys for ever, and walks them in threads."""

    STORAGE_SCHEME = ["memory+exports"]  # noqa: RUF012 - as limits declares it
    URI = f"{STORAGE_SCHEME[0]}://"

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count a request; return whether it was within the limit."""
        # While this timer runs the library starts none.
        if not self.timer.is_alive():
            self.timer = threading.Timer(_FORGET_SECONDS, self._forget)
            self.timer.daemon = True
            self.timer.start()
        acquired = super().acquire_entry(key, limit, expiry, amount)
        with self.locks[key]:
            del self.events.get(key, [])[limit:]
        return acquired

    def _forget(self) -> None:
        """Drop the keys whose newest request counts no more."""
        for key in list(self.events):
            with self.locks[key]:
                entries = self.events.get(key)
                if not entries or entries[0].expiry <= time.time():
                    self.events.pop(key, None)
                    self.locks.pop(key, None)


class SharedExportStorage(ExportMemory):
    """A storage that all replicas share, and this process's memory while that is away."""

    STORAGE_SCHEME = ["shared+exports"]  # noqa: RUF012 - as limits declares it
    URI = f"{STORAGE_SCHEME[0]}://"

    def __init__(self, uri: str, *, shared_url: str, shared_url_file: Path | None = None) -> None:
        """`shared_url` is what the file, if there is one, holds now."""
        super().__init__(uri)
        connected = _connect(shared_url)
        self._shared: Callable[[], RedisStorage] = lambda: connected
        if shared_url_file is not None:
            connect = partial(_connect_anew, shared_url_file)
            self._shared = SecretFiles([shared_url_file], connect).current
        self._lock = threading.Lock()
        self._look_again_at: float | None = None

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count a request; return whether it was within the limit."""
        acquired = None
        if self._may_ask():
            try:
                acquired = self._shared().acquire_entry(key, limit, expiry, amount)
            except Exception as error:  # noqa: BLE001 - each storage has exceptions of its own
                self._note_failure(error)
            else:
                self._note_success()
        if acquired is False:
            return False
        # Counted here, too, so that losing the shared storage is no fresh start.
        acquired_here = super().acquire_entry(key, limit, expiry, amount)
        return acquired_here if acquired is None else acquired

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """Return when the oldest request came (seconds since 1970), and how many there are."""
        if self._look_again_at is None:
            try:
                return self._shared().get_moving_window(key, limit, expiry)
            except Exception as error:  # noqa: BLE001
                self._note_failure(error)
        return super().get_moving_window(key, limit, expiry)

    def _may_ask(self) -> bool:
        """Return True while the shared storage is there, else for one request a pause."""
        with self._lock:
            now = time.monotonic()
            if self._look_again_at is None:
                return True
            if now < self._look_again_at:
                return False
            self._look_again_at = now + _PAUSE_SECONDS
            return True

    def _note_failure(self, error: Exception) -> None:
        with self._lock:
            was_there = self._look_again_at is None
            self._look_again_at = time.monotonic() + _PAUSE_SECONDS
        if was_there:
            # Not the error's text: it may hold the URL.
            _log.warning(
                "the rate limit's storage is away (%s): each process counts by itself",
                type(error).__name__,
            )

    def _note_success(self) -> None:
        with self._lock:
            was_away = self._look_again_at is not None
            self._look_again_at = None
        if was_away:
            _log.warning("the rate limit's storage is back: all replicas count together")


def _connect_anew(file: Path) -> RedisStorage:
    """Make the client for the URL in the file; raises OSError, ValueError."""
    try:
        return _connect(read_secret(file))
    except ConfigurationError as error:
        raise ValueError(str(error)) from None


def _connect(url: str) -> RedisStorage:
    """Make the client, which connects later; ConfigurationError where it can't use the URL."""
    # Made from a URL, a client of redis-py tries once, so these are the whole wait.
    timeouts = ("socket_connect_timeout", "socket_timeout")
    options: dict[str, Any] = dict.fromkeys(timeouts, _TIMEOUT_SECONDS)
    if url.startswith("rediss://"):
        options["ssl_exclude_verify_flags"] = [TOO_STRICT]
    with suppress(ConfigurationError, ValueError):
        if url.startswith("redis"):
            return cast(RedisStorage, storage_from_string(url, **options))
    # Not the URL, nor the error's text: they may hold a password.
    raise ConfigurationError("must be memory://, or a URL with redis:// or rediss://")
