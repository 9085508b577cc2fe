"""One question at a time for all who ask it, so that a flood of requests costs what few do."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Answer = TypeVar("Answer")


class SharedAnswer(Generic[Answer]):
    """Asks when somebody wants to know; belongs to the event loop."""

    def __init__(self, ask: Callable[[], Awaitable[Answer]], seconds: float) -> None:
        """An answer is good for `seconds` from when it was asked for, or for as long as it took."""
        self._ask = ask
        self._seconds = seconds
        self._asked: asyncio.Future[Answer] | None = None
        self._good_until = 0.0

    async def get(self) -> Answer:
        """Return the answer, or raise what asking raised."""
        now = asyncio.get_running_loop().time()
        if self._asked is None or (self._asked.done() and now >= self._good_until):
            self._good_until = now + self._seconds
            self._asked = asyncio.ensure_future(self._ask())
        # Shielded: one who goes away must not take it from the others.
        return await asyncio.shield(self._asked)
