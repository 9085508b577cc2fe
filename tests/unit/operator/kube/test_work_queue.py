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


async def test_pauses_grow_up_to_the_longest(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(work_queue, "FIRST_RETRY_SECONDS", 0.001)
    monkeypatch.setattr(work_queue, "LONGEST_RETRY_SECONDS", 0.003)

    async def work(_: str) -> None:
        raise OSError("never")

    tasks = WorkQueue(work, parallel=1)
    tasks.ask("a")
    await until(lambda: len(caplog.records) >= 4)
    await tasks.stop()
    pauses = [record.args[1] for record in caplog.records[:4] if isinstance(record.args, tuple)]
    assert pauses == [0.001, 0.002, 0.003, 0.003]


async def test_urgent_keys_go_first_and_the_others_are_not_forgotten() -> None:
    order: list[str] = []
    gate = asyncio.Event()

    async def work(key: str) -> None:
        await gate.wait()
        order.append(key)

    tasks = WorkQueue(work, parallel=1, is_urgent=lambda key: key.startswith("u"))
    for key in ("first", "o0", "o1", *(f"u{n}" for n in range(10))):
        tasks.ask(key)
    gate.set()
    await until(lambda: tasks.length == 0)
    assert order == ["first", *(f"u{n}" for n in range(8)), "o0", "u8", "u9", "o1"]
    await tasks.stop()


async def test_a_key_that_waits_runs_once_however_often_it_is_asked_for() -> None:
    order: list[str] = []
    gate = asyncio.Event()

    async def work(key: str) -> None:
        await gate.wait()
        order.append(key)

    tasks = WorkQueue(work, parallel=1)
    for key in ("first", "a", "a", "a"):
        tasks.ask(key)
    gate.set()
    await until(lambda: tasks.length == 0)
    assert order == ["first", "a"]
    await tasks.stop()


async def test_a_run_that_is_cancelled_holds_nobody_up() -> None:
    runs: list[str] = []

    async def work(key: str) -> None:
        runs.append(key)
        if runs == ["a"]:
            raise asyncio.CancelledError

    tasks = WorkQueue(work, parallel=1)
    tasks.ask("a")
    tasks.ask("b")
    await until(lambda: tasks.length == 0)
    tasks.ask("a")
    await until(lambda: tasks.length == 0)
    assert runs == ["a", "b", "a"]
    await tasks.stop()


async def test_a_key_that_failed_leaves_its_slot_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work_queue, "FIRST_RETRY_SECONDS", 3600.0)
    runs: list[str] = []

    async def work(key: str) -> None:
        runs.append(key)
        if key == "a":
            raise OSError("not yet")

    tasks = WorkQueue(work, parallel=1)
    for key in ("a", "b"):
        tasks.ask(key)
    await until(lambda: runs == ["a", "b"])
    # Its pause holds, whoever asks for it meanwhile.
    tasks.ask("a")
    tasks.ask("c")
    await until(lambda: runs == ["a", "b", "c"])
    assert tasks.length == 1
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


async def test_a_fault_in_what_is_told_of_runs_leaves_the_key_free() -> None:
    runs = 0

    async def work(_: str) -> None:
        nonlocal runs
        runs += 1

    def measure(_seconds: float, _error: Exception | None) -> None:
        raise ValueError("no number")

    queue = WorkQueue(work, parallel=1, measure=measure)
    for expected in (1, 2):
        queue.ask("a")
        running = queue._tasks["a"]
        with pytest.raises(ValueError, match="no number"):
            await running
        assert (runs, queue.length) == (expected, 0)


async def test_a_fault_in_what_is_urgent_leaves_the_key_free() -> None:
    faults, runs = [ValueError("no version")], 0

    async def work(_: str) -> None:
        nonlocal runs
        runs += 1

    def is_urgent(_: str) -> bool:
        if faults:
            raise faults.pop()
        return False

    queue = WorkQueue(work, parallel=1, is_urgent=is_urgent)
    with pytest.raises(ValueError, match="no version"):
        queue.ask("a")
    queue.ask("a")
    await until(lambda: runs == 1)


async def test_what_waits_is_forgotten_at_the_stop() -> None:
    queue: WorkQueue[str] = WorkQueue(lambda _: asyncio.sleep(3600), parallel=1)
    for key in "abcd":
        queue.ask(key)
    assert queue.length == 4
    await queue.stop()
    assert queue.length == 0
