"""How often each caller may ask: exports in a moving window, anything else in fixed ones."""

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import limits
from fastapi import Request
from limits import RateLimitItem
from slowapi import Limiter

from backupexport_api.http.problems import ProblemError
from backupexport_api.http.request_context import add_response_headers
from backupexport_api.limits.settings import LimitSettings
from backupexport_api.limits.storage import ExportMemory, SharedExportStorage

LimitName = Literal["export", "read", "link"]

Counted = tuple[bool, int, float]
"""Of a request: whether it is too many, how many are left, and the window's end (Unix time)."""


class RateLimits:
    """The limits of one app, for `request.state.subject`; `check_…` raises ProblemError (429)."""

    def __init__(
        self, settings: LimitSettings, on_refused: Callable[[LimitName], None] = lambda _: None
    ) -> None:
        """`on_refused` is called with the limit's name at every refusal."""
        self.on_refused = on_refused
        url = settings.rate_limit_storage_url.get_secret_value()
        shared = {"shared_url": url, "shared_url_file": settings.rate_limit_storage_url_file}
        self.counting_exports_blocks = url != "memory://"
        storage = SharedExportStorage if self.counting_exports_blocks else ExportMemory
        self._export_limit = limits.parse(settings.export_rate_limit)
        self._exports = Limiter(
            key_func=_key_of,
            strategy="moving-window",
            storage_uri=storage.URI,
            storage_options=shared if self.counting_exports_blocks else {},
        ).limiter
        self._read_limit = limits.parse(settings.read_rate_limit)
        # Reads cost next to nothing: each replica counts its own, by a number, not a list of times.
        self._reads = FixedWindow(self._read_limit)
        self._links = FixedWindow(self._read_limit)

    def check_export(self, request: Request) -> None:
        """Count a request for an export; blocks where `counting_exports_blocks` says so."""
        key = _key_of(request)
        exceeded = not self._exports.hit(self._export_limit, key)
        reset, remaining = self._exports.get_window_stats(self._export_limit, key)
        self._answer("export", request, self._export_limit, (exceeded, remaining, reset))

    def check_read(self, request: Request) -> None:
        """Count any other request with a token; does not block."""
        self._answer("read", request, self._read_limit, self._reads.hit(request.state.subject))

    def check_link(self, request: Request, link: str) -> None:
        """Count a request by a good link; `link` stands for the subject."""
        self._answer("link", request, self._read_limit, self._links.hit(link))

    def _answer(
        self, name: LimitName, request: Request, limit: RateLimitItem, counted: Counted
    ) -> None:
        exceeded, remaining, reset = counted
        # The storage may have gone between counting and looking.
        remaining = 0 if exceeded else max(0, min(remaining, limit.amount - 1))
        headers = _headers(limit.amount, remaining, reset)
        add_response_headers(request, headers)
        if exceeded:
            self.on_refused(name)
            seconds, wait = limit.get_expiry(), headers["RateLimit-Reset"]
            allowed = f"{limit.amount} per {'minute' if seconds == 60 else f'{seconds} s'}"
            detail = f"Too many requests: {allowed} are allowed. Try again in {wait} s."
            raise ProblemError(429, "rate_limited", detail, headers={"Retry-After": wait})


class FixedWindow:
    """A limit for each key, in this process; not for several threads."""

    # The limits library's memory starts a thread every ten milliseconds while there are requests,
    # which costs each poll several times what this does.

    def __init__(self, limit: RateLimitItem) -> None:
        self._amount = limit.amount
        self._seconds = limit.get_expiry()
        self._windows: dict[str, _Window] = {}
        self._most_windows = 1000

    def hit(self, key: str) -> Counted:
        """Count one."""
        now = time.time()
        window = self._windows.get(key)
        if window is None or window.ends_at <= now:
            window = self._windows[key] = _Window(now + self._seconds)
            self._forget(now)
        window.count += 1
        return window.count > self._amount, max(0, self._amount - window.count), window.ends_at

    def _forget(self, now: float) -> None:
        """Drop windows that are over, where there are twice as many as after the last time."""
        if len(self._windows) > self._most_windows:
            going_on = ((k, window) for k, window in self._windows.items() if window.ends_at > now)
            self._windows = dict(going_on)
            self._most_windows = max(1000, 2 * len(self._windows))


@dataclass(slots=True)
class _Window:
    ends_at: float
    count: int = 0


def _key_of(request: Request) -> str:
    """Return a hash of the subject: a sub is any text, may be an address, and keys are logged."""
    subject: str = request.state.subject
    return hashlib.sha256(subject.encode()).hexdigest()


def _headers(amount: int, remaining: int, reset: float) -> dict[str, str]:
    # Rounded up past the whole second: a client that waits that long gets through.
    seconds = max(1, math.floor(reset - time.time()) + 1)
    return {
        "RateLimit-Limit": str(amount),
        "RateLimit-Remaining": str(remaining),
        "RateLimit-Reset": str(seconds),
        "X-RateLimit-Limit": str(amount),
        "X-RateLimit-Remaining": str(remaining),
        "X-RateLimit-Reset": str(math.floor(reset) + 1),
    }
