"""One run of a key at a time, again where asked meanwhile or failed."""

import asyncio

import pytest
import virtual_time
from backupexport_operator.kube import work_queue
from backupexport_operator.kube.client import LONGEST_RETRY_AFTER
from backupexport_operator.kube.work_queue import (
    FIRST_RETRY_SECONDS,
    LONGEST_RETRY_SECONDS,
    NEWS_PAUSE_SHARE,
    WorkQueue,
)
from kubernetes.aio.client.exceptions import ApiException


async def until(condition: object, timeout: float = 60) -> None:
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


class PanicException(BaseException):
    """What a library in Rust raises."""


@pytest.mark.parametrize("error", [OSError("not yet"), PanicException("index out of bounds")])
async def test_a_failure_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    monkeypatch.setattr(work_queue, "FIRST_RETRY_SECONDS", 0.001)
    runs = 0

    async def work(_: str) -> None:
        nonlocal runs
        runs += 1
        if runs < 4:
            raise error

    tasks = WorkQueue(work, parallel=1)
    tasks.ask("a")
    await until(lambda: runs == 4)
    await tasks.stop()
    assert caplog.text.count(f"work on a failed, again in 0.0 s: {error}") == 3


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
    tasks.ask("c")
    await until(lambda: runs == ["a", "b", "c"])
    assert tasks.length == 1
    await tasks.stop()


class Refusing:
    """Work that fails until `is_served`, and when it was tried."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.tries: list[float] = []
        self.is_served = False

    async def __call__(self, _: str) -> None:
        self.tries.append(asyncio.get_running_loop().time())
        if not self.is_served:
            raise self.error


def told_to_wait(seconds: str) -> ApiException:
    refusal = ApiException(status=429, reason="Too Many Requests")
    refusal.headers = {"Retry-After": seconds}
    return refusal


def test_news_of_a_key_end_its_pause() -> None:
    """Half a minute after its last failure it would be its turn."""

    async def tell() -> None:
        work = Refusing(OSError("no room"))
        tasks = WorkQueue(work, parallel=1)
        tasks.ask("a")
        await asyncio.sleep(100)
        assert work.tries[-1] - work.tries[-2] == LONGEST_RETRY_SECONDS
        work.is_served = True
        await asyncio.sleep(work.tries[-1] + 5 - asyncio.get_running_loop().time())
        before = len(work.tries)
        tasks.ask("a")
        await asyncio.sleep(0.001)
        assert len(work.tries) == before + 1
        assert tasks.length == 0

    virtual_time.run(tell())


def test_a_stream_of_news_does_not_spin() -> None:
    async def tell() -> None:
        work = Refusing(OSError("no room"))
        tasks = WorkQueue(work, parallel=1)
        for _ in range(6_000):
            tasks.ask("a")
            await asyncio.sleep(0.1)
        minutes = 10
        assert len(work.tries) <= minutes * 60 / (NEWS_PAUSE_SHARE * LONGEST_RETRY_SECONDS) + 10
        assert len(work.tries) > minutes * 60 / LONGEST_RETRY_SECONDS
        await tasks.stop()

    virtual_time.run(tell())


def test_news_that_came_while_a_run_failed_are_not_missed() -> None:
    async def tell() -> None:
        gate, runs = asyncio.Event(), 0

        async def work(_: str) -> None:
            nonlocal runs
            runs += 1
            if runs == 8:
                await gate.wait()
            if runs <= 8:
                raise OSError("not yet")

        tasks = WorkQueue(work, parallel=1)
        tasks.ask("a")
        await asyncio.sleep(60)
        assert runs == 8
        tasks.ask("a")
        gate.set()
        await asyncio.sleep(NEWS_PAUSE_SHARE * LONGEST_RETRY_SECONDS + 0.01)
        assert runs == 9

    virtual_time.run(tell())


@pytest.mark.parametrize(("said", "obeyed"), [("7", 7.0), ("86400", LONGEST_RETRY_AFTER)])
def test_no_try_comes_before_the_time_that_the_api_server_asks_for(
    said: str, obeyed: float
) -> None:
    """Not by the pause's own end, nor by news."""

    async def tell() -> None:
        work = Refusing(told_to_wait(said))
        tasks = WorkQueue(work, parallel=1)
        tasks.ask("a")
        for _ in range(10):
            await asyncio.sleep(0.5)
            tasks.ask("a")
        assert work.tries == [0.0]
        await asyncio.sleep(obeyed - 5)
        assert len(work.tries) == 1
        await asyncio.sleep(0.01)
        assert [at - work.tries[0] for at in work.tries[1:]] == [pytest.approx(obeyed)]
        await tasks.stop()

    virtual_time.run(tell())


@pytest.mark.parametrize("said", ["", "soon", "Sun, 29 Nov 2026 15:00:00 GMT", "-1"])
def test_a_time_that_nobody_can_read_is_none(said: str) -> None:
    async def tell() -> None:
        work = Refusing(told_to_wait(said))
        tasks = WorkQueue(work, parallel=1)
        tasks.ask("a")
        await asyncio.sleep(FIRST_RETRY_SECONDS + 0.01)
        assert len(work.tries) == 2
        await tasks.stop()

    virtual_time.run(tell())


def test_each_of_many_later_asks_has_its_time() -> None:
    """Asked for again and again, some sooner than before, some after what they waited for."""

    async def tell() -> None:
        loop = asyncio.get_running_loop()
        ran: dict[int, list[float]] = {}

        async def work(key: int) -> None:
            ran.setdefault(key, []).append(round(loop.time(), 3))

        tasks = WorkQueue(work, parallel=1000)
        for delay in (500.0, 900.0, 100.0, 300.0):
            for key in range(500):
                tasks.ask(key, delay=delay + key)
        tasks.ask(7)
        tasks.ask(8, delay=1)
        await asyncio.sleep(2000)
        wanted = {key: [100.0 + key] for key in range(500)} | {7: [0.0], 8: [1.0]}
        assert ran == wanted
        tasks.ask(1, delay=5)
        await tasks.stop()
        await asyncio.sleep(10)
        assert ran == wanted

    virtual_time.run(tell())


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

    def measure(_seconds: float, _error: BaseException | None) -> None:
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
