"""Threads that a volume may keep for ever."""

import asyncio
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from backupexport_api.downloads import volume
from backupexport_api.downloads.volume import FileThreads, ThreadsBusyError

ROOT = Path(__file__).parents[4]


async def test_results_and_errors_reach_the_one_who_waits() -> None:
    threads = FileThreads(2)
    assert await threads.run(threading.get_ident) != threading.get_ident()

    def fail() -> None:
        raise OSError(5, "broken")

    with pytest.raises(OSError, match="broken"):
        await threads.run(fail)
    assert await threads.run(lambda: 7) == 7


async def test_no_more_threads_than_said() -> None:
    threads = FileThreads(2)
    go_on = threading.Event()
    seen: set[int] = set()

    def call() -> None:
        seen.add(threading.get_ident())
        go_on.wait()

    calls = [asyncio.create_task(threads.run(call)) for _ in range(6)]
    async with asyncio.timeout(60):
        while len(seen) < 2:
            await asyncio.sleep(0.005)
    go_on.set()
    await asyncio.gather(*calls)
    assert len(seen) == 2


async def test_what_is_given_up_is_discarded_or_never_begun() -> None:
    threads = FileThreads(1)
    entered, go_on = threading.Event(), threading.Event()
    discarded: list[str] = []
    begun: list[str] = []

    def slow() -> str:
        entered.set()
        go_on.wait()
        return "opened"

    first = asyncio.create_task(threads.run(slow, discarded.append))
    second = asyncio.create_task(threads.run(lambda: begun.append("second")))
    await asyncio.to_thread(entered.wait)
    first.cancel()
    second.cancel()
    await asyncio.gather(first, second, return_exceptions=True)
    go_on.set()
    async with asyncio.timeout(60):
        while not discarded:
            await asyncio.sleep(0.005)
    await threads.run(lambda: None)
    assert (discarded, begun) == (["opened"], [])


async def test_calls_are_refused_when_too_many_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(volume, "_MOST_WAITING", 3)
    threads = FileThreads(1)
    entered, go_on = threading.Event(), threading.Event()

    def hang() -> None:
        entered.set()
        go_on.wait()

    hanging = asyncio.create_task(threads.run(hang))
    await asyncio.to_thread(entered.wait)
    waiting = [asyncio.create_task(threads.run(lambda: None)) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(ThreadsBusyError):
        await threads.run(lambda: None)
    go_on.set()
    await asyncio.gather(hanging, *waiting)


async def test_a_thread_survives_what_nobody_waits_for(caplog: pytest.LogCaptureFixture) -> None:
    threads = FileThreads(1)

    def fail() -> None:
        raise OSError(9, "bad")

    threads.run_later(fail)
    assert await threads.run(lambda: 7) == 7
    assert "nobody waits for" in caplog.text


def test_a_call_that_never_returns_does_not_hold_up_the_end_of_the_process() -> None:
    code = """
import asyncio, threading
from backupexport_api.downloads.volume import FileThreads

async def main():
    try:
        async with asyncio.timeout(0.1):
            await FileThreads(1).run(threading.Event().wait)
    except TimeoutError:
        print("ended")

asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": f"{ROOT / 'api'}:{ROOT / 'crds'}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "ended\n"
