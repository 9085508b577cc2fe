"""When what was seen of each export, on one clock."""

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Collection, Iterable
from enum import StrEnum, auto

now = time.perf_counter


class Step(StrEnum):
    """What is seen of an export, in the order in which it is expected."""

    SENT = auto()
    STORED = auto()
    JOB = auto()
    POD = auto()
    RUNNING = auto()
    ENDED = auto()
    COMPLETE = auto()
    SUCCEEDED = auto()


class NotSeenError(RuntimeError):
    """Something did not happen in time."""


class Journal:
    """The first sight of each step of each export, by the export's name."""

    def __init__(self) -> None:
        self._moments: dict[Step, dict[str, float]] = defaultdict(dict)
        self._news = asyncio.Event()
        self._latest = 0.0
        self._stirred = asyncio.Event()

    def note(self, step: Step, name: str, moment: float | None = None) -> None:
        """Note a step; only the first sight of it counts."""
        self._moments[step].setdefault(name, now() if moment is None else moment)
        self._news.set()

    def stir(self) -> None:
        """Note that anything was seen at all."""
        self._latest = now()
        self._stirred.set()

    def moment(self, step: Step, name: str) -> float:
        """When it was."""
        return self._moments[step][name]

    def between(self, first: Step, second: Step, names: Iterable[str]) -> list[float]:
        """The seconds from one step to another, of each of `names`."""
        before, after = self._moments[first], self._moments[second]
        return [after[name] - before[name] for name in names]

    def rate(self, first: Step, second: Step, names: Collection[str]) -> float:
        """How many a second got from `first` to `second`, all of `names` together."""
        began = min(self._moments[first][name] for name in names)
        ended = max(self._moments[second][name] for name in names)
        return len(names) / (ended - began)

    async def all_at(self, step: Step, names: Collection[str], seconds: float) -> None:
        """Wait until each of `names` was seen at `step`, while one more is in every `seconds`."""
        missing = set(names) - self._moments[step].keys()
        try:
            while missing:
                async with asyncio.timeout(seconds):
                    while missing <= (left := missing - self._moments[step].keys()):
                        self._news.clear()
                        await self._news.wait()
                missing = left
        except TimeoutError:
            told = f"{len(missing)} of {len(names)} exports were not {step}"
            raise NotSeenError(f"{told}, and none became so within {seconds:g} s") from None

    async def quiet(self, seconds: float) -> None:
        """Wait until nothing was seen for so long."""
        self.stir()
        while True:
            rest = self._latest + seconds - now()
            if rest <= 0:
                return
            self._stirred.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stirred.wait(), rest)
