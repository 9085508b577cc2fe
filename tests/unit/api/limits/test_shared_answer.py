"""A question that many ask is asked once, and its answer is good for a while."""

import asyncio

import pytest
from backupexport_api.limits.shared_answer import SharedAnswer
from virtual_time import run


class Asked:
    """Answers with how often it was asked, after a while."""

    def __init__(self, takes: float = 0.0) -> None:
        self.times: list[float] = []
        self._takes = takes

    async def __call__(self) -> int:
        self.times.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self._takes)
        return len(self.times)


@pytest.mark.parametrize("takes", [0.0, 0.4, 3.0])
def test_a_flood_asks_once_a_second_at_most(takes: float) -> None:
    asked = Asked(takes)

    async def flood() -> None:
        shared = SharedAnswer(asked, seconds=1)
        waiting = []
        for _ in range(500):
            waiting.append(asyncio.create_task(shared.get()))
            await asyncio.sleep(0.01)
        await asyncio.gather(*waiting)

    run(flood())
    # While one question waits for its answer there is no second one.
    apart = max(takes, 1.0)
    steps = [later - earlier for earlier, later in zip(asked.times, asked.times[1:], strict=False)]
    assert len(asked.times) == pytest.approx(5 / apart, abs=1)
    assert all(step >= apart - 1e-6 for step in steps)


def test_an_answer_is_no_older_than_that() -> None:
    async def story() -> list[int]:
        shared = SharedAnswer(Asked(), seconds=1)
        answers = [await shared.get()]
        for pause in (0.5, 0.4, 0.2):
            await asyncio.sleep(pause)
            answers.append(await shared.get())
        return answers

    assert run(story()) == [1, 1, 1, 2]


def test_who_goes_away_takes_the_answer_from_nobody() -> None:
    async def story() -> int:
        shared = SharedAnswer(Asked(0.5), seconds=1)
        first = asyncio.create_task(shared.get())
        await asyncio.sleep(0.1)
        second = asyncio.create_task(shared.get())
        await asyncio.sleep(0.1)
        first.cancel()
        return await second

    assert run(story()) == 1
