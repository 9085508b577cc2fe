"""What goes wrong with a request, said beforehand: a status, a cut connection, a wait."""

import asyncio
import re
from dataclasses import dataclass, field

from fake_kubernetes.refusals import Manifest, RefusedError

_REASONS = {
    400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 409: "Conflict",
    410: "Expired", 422: "Invalid", 429: "TooManyRequests", 500: "InternalError",
    503: "ServiceUnavailable", 504: "Timeout",
}  # fmt: skip


@dataclass
class Fault:
    """Meets requests that fit `on`, a pattern of verb and resource: "patch backupexports/status".

    The first `skip` of them are let through, the next `times` are met.  With `status` they are
    answered so, with `is_cut` their connection ends without an answer, with `is_held` they wait
    for `release` or for their client to give up.  `is_stored` says that the request is carried
    out before that.
    """

    on: str
    status: int | None = None
    is_cut: bool = False
    is_held: bool = False
    is_stored: bool = False
    skip: int = 0
    times: int = 1
    message: str = "a fault that the test asked for"
    details: Manifest = field(default_factory=dict)
    retry_after: int | None = None
    # How many requests it has met, and how many clients gave up while it held theirs.
    met: int = 0
    given_up: int = 0
    _seen: int = 0
    _released: asyncio.Event = field(default_factory=asyncio.Event)

    def meets(self, call: str) -> bool:
        """Whether the request is one of those, counting it."""
        if not re.fullmatch(self.on, call):
            return False
        self._seen += 1
        if not self.skip < self._seen <= self.skip + self.times:
            return False
        self.met += 1
        return True

    def release(self) -> None:
        """Let those that are held go on."""
        self._released.set()

    async def wait(self) -> None:
        """Until `release`."""
        try:
            await self._released.wait()
        except asyncio.CancelledError:
            self.given_up += 1
            raise

    @property
    def refusal(self) -> RefusedError:
        code = self.status or 500
        return RefusedError(code, _REASONS[code], self.message, self.details)
