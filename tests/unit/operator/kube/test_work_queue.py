"""One run of a key at a time, again where asked meanwhile or failed."""

import asyncio

import pytest
from backupexport_operator.kube import work_queue
from backupexport_operator.kube.work_queue import WorkQueue


async def until(condition: object, timeout: float = 5) -> None:
    async with asyncio.timeout(timeout):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0.001)


async def test_one_key_never_runs_twice_at_once_and_asks_meanwhile_are_one_run() -> None:
    running, most, runs = 0, 0, 0
    gate = asyncio.Event()

    async def work(_: str) -> None:
        nonlocal running, most, runs
        running, runs = running + 1, runs + 1
        most = max(most, running)
        await gate.wait()
        running -= 1

    tasks = WorkQueue(work, parallel=8)
    tasks.ask("a")
    await until(lambda: runs == 1)
    for _ in range(5):
        tasks.ask("a")
    gate.set()
    await until(lambda: runs == 2 and running == 0)
    assert most == 1
    await tasks.stop()


async def test_different_keys_run_side_by_side_up_to_the_limit() -> None:
    running, most = 0, 0
    gate = asyncio.Event()

    async def work(_: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await gate.wait()
        running -= 1

    tasks = WorkQueue(work, parallel=3)
    for key in range(9):
        tasks.ask(key)
    await until(lambda: running == 3)
    gate.set()
    await until(lambda: running == 0)
    assert most == 3
    await tasks.stop()


async def test_a_failure_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work_queue, "FIRST_RETRY_SECONDS", 0.001)
    runs = 0

    async def work(_: str) -> None:
        nonlocal runs
        runs += 1
        if runs < 4:
            raise OSError("not yet")

    tasks = WorkQueue(work, parallel=1)
    tasks.ask("a")
    await until(lambda: runs == 4)
    await tasks.stop()


async def test_the_earliest_ask_wins() -> None:
    runs = 0

    async def work(_: str) -> None:
        nonlocal runs
        runs += 1

    tasks = WorkQueue(work, parallel=1)
    tasks.ask("a", delay=3600)
    tasks.ask("a", delay=0.01)
    tasks.ask("a", delay=3600)
    await until(lambda: runs == 1)
    await tasks.stop()


async def test_stop_ends_what_runs() -> None:
    ended = asyncio.Event()

    async def work(_: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    tasks = WorkQueue(work, parallel=1)
    tasks.ask("a")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await tasks.stop()
    assert ended.is_set()
