"""Public keys from a JWK set that is read over HTTP, again and again, in a thread."""

import asyncio
import concurrent.futures
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import urllib3
from backupexport_runtime.tls import system_context

from backupexport_api.auth.keys import KeySet, KeysUnavailableError, UnusableKeysError, keys_of_jwks

# For connecting, and for the whole read; who sends a byte now and then gets one wait more.
SECONDS = 3.0
MOST_BYTES = 1024 * 1024
_CHUNK = 64 * 1024

# The least time between two reads that tokens with unknown key ids cause, however many there are.
ASK_SECONDS = 3.0
# How long the request with such a token waits for a read.
_WAIT_SECONDS = 4.0
# So many of them may wait at once; others are answered with the keys that there are.
MOST_WAITING = 200
# After a read that failed; never longer than the time between reads.
_RETRY_SECONDS = 5.0
_STOP_SECONDS = 1.0

_HEADERS = {
    "Accept": "application/jwk-set+json, application/json",
    "User-Agent": "backupexport-api",
    # The next read is a minute away, and may have to go to another address.
    "Connection": "close",
}

_log = logging.getLogger(__name__)


class JwksFetch:
    """Reads one URL; a call blocks, and raises UnusableKeysError or an error of urllib3."""

    def __init__(self, url: str) -> None:
        """`url` is http or https; certificates are checked against the system's store."""
        self._url = url
        self._http = urllib3.PoolManager(
            ssl_context=system_context(), retries=False, timeout=urllib3.Timeout(total=SECONDS)
        )

    def __call__(self) -> bytes:
        """Return the document, of at most MOST_BYTES."""
        deadline = time.monotonic() + SECONDS
        response = self._http.request(
            "GET", self._url, headers=_HEADERS, redirect=False, preload_content=False
        )
        try:
            if response.status != 200:
                raise UnusableKeysError(f"is not served: status {response.status}")
            body = bytearray()
            while chunk := response.read1(_CHUNK, decode_content=False):
                body += chunk
                if len(body) > MOST_BYTES:
                    raise UnusableKeysError(f"is larger than {MOST_BYTES} bytes")
                if time.monotonic() > deadline:
                    raise UnusableKeysError(f"takes longer than {SECONDS:g} s")
            return bytes(body)
        finally:
            response.close()


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """What the last good read has brought."""

    document: bytes
    keys: KeySet
    read_at: float


class JwksSource:
    """The newest keys that could be read, for as long as they are not too old."""

    def __init__(
        self,
        fetch: Callable[[], bytes],
        algorithms: Sequence[str],
        *,
        refresh_seconds: float,
        max_age_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`fetch` returns the document; it blocks and may raise anything."""
        self._fetch = fetch
        self._algorithms = algorithms
        self._refresh_seconds = refresh_seconds
        self._max_age_seconds = max_age_seconds
        self._clock = clock
        self._snapshot: _Snapshot | None = None
        self._complaint: str | None = None
        self._lock = threading.Lock()
        self._asked: concurrent.futures.Future[None] | None = None
        self._served: concurrent.futures.Future[None] | None = None
        self._last_asked = float("-inf")
        self._waiting = 0
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="jwks", daemon=True)

    def start(self) -> None:
        """Start the thread that reads."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; one that a read holds up ends with the process."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)

    def current(self) -> KeySet:
        """Return the keys, the same object while they are the same; raises KeysUnavailableError."""
        snapshot = self._snapshot
        if snapshot is None or self._clock() - snapshot.read_at > self._max_age_seconds:
            raise KeysUnavailableError
        return snapshot.keys

    def unready(self) -> list[str]:
        """Return why there are no keys, without the URL; empty when there are."""
        try:
            self.current()
        except KeysUnavailableError:
            when = "too long ago" if self._snapshot else "never yet"
            return [f"the keys that check tokens were read {when}"]
        return []

    async def refreshed(self) -> bool:
        """Wait for a read begun on request; False if the last is too recent, or this too slow.

        Also if very many wait already: tokens that anybody made up must not hold all connections.
        """
        asked = self._ask()
        if asked is None:
            return False
        if self._waiting >= MOST_WAITING:
            return False
        self._waiting += 1
        try:
            done, _ = await asyncio.wait({asyncio.wrap_future(asked)}, timeout=_WAIT_SECONDS)
        finally:
            self._waiting -= 1
        return bool(done)

    def _ask(self) -> concurrent.futures.Future[None] | None:
        with self._lock:
            if self._served is not None:
                return self._served
            # A read that is under way by itself may have begun too early to know the key.
            if self._asked is None:
                now = self._clock()
                if now - self._last_asked < ASK_SECONDS:
                    return None
                self._last_asked = now
                self._asked = concurrent.futures.Future()
                # One request that gives up must not cancel the others' wait.
                self._asked.set_running_or_notify_cancel()
                self._wake.set()
            return self._asked

    def _run(self) -> None:
        while True:
            self._wake.clear()
            if self._stopping:
                return
            with self._lock:
                self._served, self._asked = self._asked, None
            is_good = self.read()
            with self._lock:
                served, self._served = self._served, None
            if served is not None:
                served.set_result(None)
            pause = self._refresh_seconds
            self._wake.wait(pause if is_good else min(pause, _RETRY_SECONDS))

    def read(self) -> bool:
        """Read once; return whether that worked.  Where it did not, the keys stay as they are."""
        started = self._clock()
        try:
            document = self._fetch()
            known = self._snapshot
            if known is not None and known.document == document:
                keys = known.keys
            else:
                keys = KeySet(keys_of_jwks(document, self._algorithms))
                _log.info("%d keys that check tokens were read", len(keys))
        except UnusableKeysError as error:
            self._complain(str(error))
            return False
        # The thread must outlive whatever a fetch can raise.
        except Exception as error:  # noqa: BLE001
            self._complain(f"can't be read: {type(error).__name__}")
            return False
        self._snapshot = _Snapshot(document, keys, started)
        self._complain(None)
        return True

    def _complain(self, complaint: str | None) -> None:
        """Log what is wrong once, not at each read; never with anything of the document in it."""
        if complaint == self._complaint:
            return
        self._complaint = complaint
        if complaint is None:
            _log.info("the JWK set can be read again")
        else:
            _log.warning("the JWK set %s; the keys stay as they are", complaint)
