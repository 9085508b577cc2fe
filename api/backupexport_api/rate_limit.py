"""How often a subject may call: a moving window for each limit, counted by slowapi.

slowapi counts; the headers are made here, because its own are floats, are lost on errors and
have no RateLimit-* names.
"""

import hashlib
import logging
import math
import time
from collections.abc import Callable

from fastapi import Request
from limits import RateLimitItem
from slowapi import Limiter
from slowapi.errors import RateLimitExceeded

from backupexport_api.problems import ProblemError
from backupexport_api.request_context import add_response_headers
from backupexport_api.settings import Settings

_log = logging.getLogger(__name__)


class RateLimits:
    """The limits of one app; `check_export` and `check_read` block, and raise ProblemError (429).

    They expect `request.state.subject`, which authentication sets.
    """

    def __init__(self, settings: Settings) -> None:
        self._limiter = Limiter(
            key_func=_key_of,
            strategy="moving-window",
            storage_uri=settings.rate_limit_storage_url.get_secret_value(),
            in_memory_fallback_enabled=True,
            key_style="endpoint",
        )

        # slowapi finds the limits of a function by its name.
        @self._limiter.limit(settings.export_rate_limit)  # type: ignore[untyped-decorator]
        def count_export(request: Request) -> None:
            del request

        @self._limiter.limit(settings.read_rate_limit)  # type: ignore[untyped-decorator]
        def count_read(request: Request) -> None:
            del request

        self._count_export = count_export
        self._count_read = count_read

    def check_export(self, request: Request) -> None:
        """Count a request for an export."""
        self._check(self._count_export, request)

    def check_read(self, request: Request) -> None:
        """Count a read."""
        self._check(self._count_read, request)

    def _check(self, count: Callable[..., None], request: Request) -> None:
        exceeded = False
        try:
            count(request=request)
        except RateLimitExceeded:
            exceeded = True
        limit, identifiers = request.state.view_rate_limit
        reset, remaining = self._window(limit, identifiers)
        headers = _headers(limit.amount, remaining, reset)
        add_response_headers(request, headers)
        if exceeded:
            raise ProblemError(
                429,
                "rate_limited",
                f"Too many requests: {limit.amount} per {_readable(limit.get_expiry())} are "
                f"allowed. Try again in {headers['RateLimit-Reset']} s.",
                headers={"Retry-After": headers["RateLimit-Reset"]},
            )

    def _window(self, limit: RateLimitItem, identifiers: list[str]) -> tuple[float, int]:
        """When the oldest request leaves the window (Unix time), and how many are left."""
        try:
            reset, remaining = self._limiter.limiter.get_window_stats(limit, *identifiers)
        except Exception as error:  # noqa: BLE001 - each storage has exceptions of its own
            # The request has been counted; only the headers have to guess.
            _log.warning("the rate limit's storage failed: %s", type(error).__name__)
            return time.time() + limit.get_expiry(), 0
        return reset, max(0, remaining)


def _key_of(request: Request) -> str:
    """A subject's key: a hash, because a sub is any text, may be an address, and is logged."""
    subject: str = request.state.subject
    return hashlib.sha256(subject.encode()).hexdigest()


def _headers(amount: int, remaining: int, reset: float) -> dict[str, str]:
    # Rounded up past the whole second, so that whoever waits that long gets through.
    seconds = max(1, math.floor(reset - time.time()) + 1)
    return {
        "RateLimit-Limit": str(amount),
        "RateLimit-Remaining": str(remaining),
        "RateLimit-Reset": str(seconds),
        "X-RateLimit-Limit": str(amount),
        "X-RateLimit-Remaining": str(remaining),
        "X-RateLimit-Reset": str(math.floor(reset) + 1),
    }


def _readable(seconds: int) -> str:
    return "minute" if seconds == 60 else f"{seconds} s"
