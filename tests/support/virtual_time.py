"""An event loop whose clock jumps to the next thing that is due, instead of waiting for it."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class VirtualLoop(asyncio.SelectorEventLoop):
    """Hours pass in milliseconds; what waits for nothing that is due is an error, no hang."""

    def __init__(self) -> None:
        super().__init__()
        self._passed = 0.0
        self._real_select = self._selector.select  # type: ignore[attr-defined]
        self._selector.select = self._skip  # type: ignore[attr-defined]

    def time(self) -> float:
        return self._passed

    def freeze(self, seconds: float) -> None:
        """What SIGSTOP and SIGCONT do: the clock goes on, nothing of ours runs."""
        self._passed += seconds

    def _skip(self, timeout: float | None) -> Any:
        ready = self._real_select(0)
        if ready:
            return ready
        if timeout is None:
            raise RuntimeError("everything waits, and nothing will ever happen")
        self._passed += timeout
        return ready


def run(story: Coroutine[Any, Any, Result]) -> Result:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(story)
