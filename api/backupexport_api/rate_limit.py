"""How often a subject may call: exports counted for all replicas by slowapi, reads in here.

The headers are made here, because slowapi's own are floats, are lost on errors and have no
RateLimit-* names.
"""

import hashlib
import math
import time
from collections.abc import Callable
from typing import Literal

import limits
from fastapi import Request
from limits import RateLimitItem
from slowapi import Limiter
from slowapi.errors import RateLimitExceeded

from backupexport_api.fixed_window import FixedWindow
from backupexport_api.problems import ProblemError
from backupexport_api.rate_limit_storage import FallbackStorage, QuietMemory
from backupexport_api.request_context import add_response_headers
from backupexport_api.settings import Settings

Kind = Literal["export", "read", "link"]


class RateLimits:
    """The limits of one app; each `check_…` raises ProblemError (429).

    `check_export` and `check_read` expect `request.state.subject`, which authentication sets.
    `on_refused` is told of every refusal.
    """

    def __init__(
        self, settings: Settings, on_refused: Callable[[Kind], None] = lambda _: None
    ) -> None:
        self.on_refused = on_refused
        url = settings.rate_limit_storage_url.get_secret_value()
        self.counting_exports_blocks = url != "memory://"
        self._exports = Limiter(
            key_func=_key_of,
            strategy="moving-window",
            storage_uri=FallbackStorage.URI if self.counting_exports_blocks else QuietMemory.URI,
            storage_options={"shared_url": url} if self.counting_exports_blocks else {},
            key_style="endpoint",
        )

        # slowapi finds the limits of a function by its name.
        @self._exports.limit(settings.export_rate_limit)  # type: ignore[untyped-decorator]
        def count_export(request: Request) -> None:
            del request

        self._count_export = count_export
        self._read_limit = limits.parse(settings.read_rate_limit)
        # Reads cost next to nothing, so each replica counts its own; one number for each subject,
        # where a moving window would be a list of times.
        self._reads = FixedWindow(self._read_limit.amount, self._read_limit.get_expiry())
        self._links = FixedWindow(self._read_limit.amount, self._read_limit.get_expiry())

    def check_export(self, request: Request) -> None:
        """Count a request for an export; with a storage elsewhere it blocks while that is asked."""
        exceeded = False
        try:
            self._count_export(request=request)
        except RateLimitExceeded:
            exceeded = True
        limit, identifiers = request.state.view_rate_limit
        reset, remaining = self._exports.limiter.get_window_stats(limit, *identifiers)
        self._answer("export", request, limit, exceeded, reset, remaining)

    def check_read(self, request: Request) -> None:
        """Count anything else; quick enough for the event loop."""
        exceeded, remaining, reset = self._reads.hit(request.state.subject)
        self._answer("read", request, self._read_limit, exceeded, reset, remaining)

    def check_link(self, request: Request, link: str) -> None:
        """Count a request by a link that is good, in place of a subject."""
        exceeded, remaining, reset = self._links.hit(link)
        self._answer("link", request, self._read_limit, exceeded, reset, remaining)

    def _answer(
        self,
        kind: Kind,
        request: Request,
        limit: RateLimitItem,
        exceeded: bool,
        reset: float,
        remaining: int,
    ) -> None:
        # The storage may have gone between counting and looking.
        remaining = 0 if exceeded else max(0, min(remaining, limit.amount - 1))
        headers = _headers(limit.amount, remaining, reset)
        add_response_headers(request, headers)
        if exceeded:
            self.on_refused(kind)
            raise ProblemError(
                429,
                "rate_limited",
                f"Too many requests: {limit.amount} per {_readable(limit.get_expiry())} are "
                f"allowed. Try again in {headers['RateLimit-Reset']} s.",
                headers={"Retry-After": headers["RateLimit-Reset"]},
            )


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
