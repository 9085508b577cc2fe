"""Waiting for a condition, in place of a sleep."""

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Return as soon as `condition` holds; TimeoutError where it doesn't in time."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.001)
