"""A semaphore with a fast lane."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

# So many urgent ones go first, then one of the others: nobody waits for ever.
_URGENT_IN_A_ROW = 8


class Slots:
    """At most `number` are in at once; who is urgent waits in a line of its own."""

    def __init__(self, number: int) -> None:
        self._free = number
        self._urgent: deque[asyncio.Future[None]] = deque()
        self._others: deque[asyncio.Future[None]] = deque()
        self._in_a_row = 0

    @asynccontextmanager
    async def one(self, *, urgent: bool) -> AsyncIterator[None]:
        """Wait for a slot and hold it for as long as the context is entered."""
        if self._free > 0:
            self._free -= 1
        else:
            await self._wait(self._urgent if urgent else self._others)
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, line: deque[asyncio.Future[None]]) -> None:
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                # The slot came in the same moment.
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        while self._urgent or self._others:
            fast = bool(self._urgent) and (not self._others or self._in_a_row < _URGENT_IN_A_ROW)
            self._in_a_row = self._in_a_row + 1 if fast else 0
            place = (self._urgent if fast else self._others).popleft()
            if not place.done():
                place.set_result(None)
                return
        self._free += 1
