"""Candidate, leader, candidate again, in virtual time."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from backupexport_operator.leader.election import Leadership
from backupexport_operator.leader.supervisor import (
    GOOD_RUN,
    LONGEST_PAUSE,
    MOST_FAULTS,
    STOP_SECONDS,
    RepeatedFaultError,
    StuckError,
    Supervisor,
    Term,
    next_pause,
)
from backupexport_operator.observed.watch_health import WatchHealth
from virtual_time import run

# Between faults in a row that come at once.
PAUSES = [1, 2, 4, 8, 16, *[LONGEST_PAUSE] * (MOST_FAULTS - 6)]


@dataclass
class Election(Leadership):
    """Leads when it is let."""

    diary: list[str]
    free: asyncio.Event = field(default_factory=asyncio.Event)
    lost: asyncio.Event = field(default_factory=asyncio.Event)
    silent: float = 0.0
    held: bool = False

    def seconds_unheard(self) -> float:
        return self.silent

    async def acquire(self, stopping: asyncio.Event) -> bool:
        waits = [asyncio.create_task(event.wait()) for event in (self.free, stopping)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        self.held = not stopping.is_set()
        self.diary.append("leads" if self.held else "stopped")
        return self.held

    async def keep(self) -> str:
        await self.lost.wait()
        self.held = False
        self.lost.clear()
        return "lost"

    async def release(self) -> None:
        self.diary.append("released" if self.held else "nothing to release")
        self.held = False


class Process:
    """A supervisor, what it works at, and a diary of both."""

    def __init__(self) -> None:
        self.diary: list[str] = []
        self.election = Election(self.diary)
        self.kopf: Callable[[Term], object] = self.obedient
        self.terms: list[Term] = []
        self.watches = WatchHealth((), asyncio.get_running_loop().time)
        self.supervisor = Supervisor(
            self.election,
            self.work,
            self.farewell,
            lambda: self.watches,
            dead_watch_seconds=120,
            silence_seconds=30,
        )

    async def work(self, term: Term) -> None:
        self.terms.append(term)
        self.diary.append("kopf starts")
        await self.kopf(term)  # type: ignore[misc]
        self.diary.append("kopf ended")

    async def obedient(self, term: Term) -> None:
        await asyncio.sleep(0.5)
        term.started.set()
        await term.stop.wait()
        await asyncio.sleep(2)

    async def farewell(self) -> None:
        self.diary.append("farewell")


@asynccontextmanager
async def running() -> AsyncIterator[tuple[Process, "asyncio.Task[None]"]]:
    process = Process()
    task = asyncio.create_task(process.supervisor.run())
    await asyncio.sleep(1)
    yield process, task
    process.supervisor.stop()
    await asyncio.gather(task, return_exceptions=True)


def test_the_lease_is_given_back_last() -> None:
    async def tell() -> None:
        async with running() as (process, task):
            process.election.free.set()
            await asyncio.sleep(10)
            process.supervisor.stop()
            await task
            assert process.diary == ["leads", "kopf starts", "kopf ended", "farewell", "released"]

    run(tell())


def test_a_candidate_stops_at_once() -> None:
    async def tell() -> None:
        async with running() as (process, task):
            process.supervisor.stop()
            await task
            assert asyncio.get_running_loop().time() <= 1
            assert process.diary == ["stopped", "farewell", "nothing to release"]

    run(tell())


def test_a_lost_lease_ends_kopf_and_not_the_process() -> None:
    async def tell() -> None:
        async with running() as (process, task):
            process.election.free.set()
            await asyncio.sleep(10)
            process.election.free.clear()
            process.election.lost.set()
            await asyncio.sleep(10)
            assert process.diary == ["leads", "kopf starts", "kopf ended"]
            assert not task.done()
            process.election.free.set()
            await asyncio.sleep(10)
            assert process.diary[3:] == ["leads", "kopf starts"]
            first, second = process.terms
            assert first.stop.is_set()
            assert not second.stop.is_set()

    run(tell())


async def broken(_: Term) -> None:
    raise ValueError("a bug at the start")


def test_kopf_that_ends_by_an_error_gives_another_replica_a_chance_and_comes_back() -> None:
    async def tell() -> None:
        async with running() as (process, task):
            process.kopf = broken
            process.election.free.set()
            await asyncio.sleep(0.1)
            assert process.diary == ["leads", "kopf starts", "released"]
            await asyncio.sleep(sum(PAUSES[:-1]))
            assert process.diary.count("kopf starts") == MOST_FAULTS - 1
            assert not task.done()
            process.kopf = process.obedient
            await asyncio.sleep(LONGEST_PAUSE + 1)
            assert process.supervisor.readiness_failures() == []

    run(tell())


def test_a_fault_that_ends_one_term_after_the_other_ends_the_process() -> None:
    async def tell() -> None:
        async with running() as (process, task):
            process.kopf = broken
            process.election.free.set()
            await asyncio.sleep(sum(PAUSES) + 0.1)
            assert process.diary == ["leads", "kopf starts", "released"] * MOST_FAULTS
            with pytest.raises(RepeatedFaultError):
                await asyncio.wait_for(task, 0.1)

    run(tell())


@pytest.mark.parametrize("good_end", ["a long run", "a lost lease"])
def test_faults_that_are_not_in_a_row_end_no_process(good_end: str) -> None:
    async def tell() -> None:
        async with running() as (process, task):
            terms = 0

            async def sometimes_broken(term: Term) -> None:
                nonlocal terms
                terms += 1
                if terms % (MOST_FAULTS - 1):
                    raise ValueError("a bug")
                if good_end == "a lost lease":
                    process.election.lost.set()
                    await term.stop.wait()
                else:
                    await asyncio.sleep(GOOD_RUN)
                    raise ValueError("a bug, after a long time")

            process.kopf = sometimes_broken
            process.election.free.set()
            await asyncio.sleep(3600)
            assert terms > 4 * MOST_FAULTS
            assert not task.done()

    run(tell())


def test_a_dead_watch_ends_the_term_and_not_the_process() -> None:
    async def tell() -> None:
        async with running() as (process, task):
            process.watches = watches = WatchHealth(["jobs"], asyncio.get_running_loop().time)
            process.election.free.set()
            await asyncio.sleep(1)
            watches.compare("jobs", {"a": 1}, {"a": 1})
            watches.compare("jobs", {"a": 2}, {"a": 1})
            await asyncio.sleep(200)
            process.watches = WatchHealth((), asyncio.get_running_loop().time)
            watches.compare("jobs", {"a": 3}, {"a": 1})
            assert process.supervisor.readiness_failures() == ["the watch of jobs is dead"]
            await asyncio.sleep(10)
            assert process.diary == [
                "leads", "kopf starts", "kopf ended", "released", "leads", "kopf starts",
            ]  # fmt: skip
            assert process.supervisor.readiness_failures() == []
            assert not task.done()

    run(tell())


def test_watches_that_die_in_term_after_term_end_the_process() -> None:
    async def tell() -> None:
        async with running() as (process, task):

            async def deaf_watch(term: Term) -> None:
                while not term.stop.is_set():
                    process.watches.compare("jobs", {"a": 2}, {"a": 1})
                    await asyncio.sleep(10)
                process.watches = WatchHealth(["jobs"], asyncio.get_running_loop().time)

            process.kopf = deaf_watch
            process.election.free.set()
            with pytest.raises(RepeatedFaultError):
                await asyncio.wait_for(task, MOST_FAULTS * 200)
            assert process.diary.count("kopf ended") == MOST_FAULTS

    run(tell())


def test_kopf_that_ends_without_an_error_comes_back_too() -> None:
    async def tell() -> None:
        async with running() as (process, _):

            async def quitter(_: Term) -> None:
                return

            process.kopf = quitter
            process.election.free.set()
            await asyncio.sleep(5)
            assert process.diary[:4] == ["leads", "kopf starts", "kopf ended", "released"]
            assert process.diary.count("kopf starts") == 3

    run(tell())


def test_a_signal_during_a_pause_is_heard() -> None:
    async def tell() -> None:
        async with running() as (process, task):
            process.kopf = broken
            process.election.free.set()
            await asyncio.sleep(100)
            process.supervisor.stop()
            await asyncio.wait_for(task, 0.1)
            assert process.diary[-2:] == ["farewell", "nothing to release"]

    run(tell())


def test_kopf_that_does_not_stop_is_cancelled() -> None:
    async def tell() -> None:
        async with running() as (process, task):

            async def deaf(_: Term) -> None:
                await asyncio.sleep(3600)

            process.kopf = deaf
            process.election.free.set()
            await asyncio.sleep(10)
            process.supervisor.stop()
            await asyncio.wait_for(task, STOP_SECONDS + 0.1)
            assert process.diary == ["leads", "kopf starts", "farewell", "released"]

    run(tell())


def test_kopf_that_can_not_be_cancelled_ends_the_process_within_the_grace_period() -> None:
    async def tell() -> None:
        async with running() as (process, task):
            done = asyncio.Event()

            async def stuck(_: Term) -> None:
                while not done.is_set():
                    try:
                        await done.wait()
                    except asyncio.CancelledError:
                        process.diary.append("not now")

            process.kopf = stuck
            process.election.free.set()
            await asyncio.sleep(10)
            process.supervisor.stop()
            with pytest.raises(StuckError):
                await asyncio.wait_for(task, 20)
            # Its Lease runs out: kopf may be writing.
            assert process.diary == ["leads", "kopf starts", "not now"]
            done.set()
            await asyncio.sleep(1)

    run(tell())


def test_a_farewell_that_fails_does_not_keep_the_lease() -> None:
    async def tell() -> None:
        async with running() as (process, task):

            async def failing() -> None:
                await asyncio.sleep(3600)

            process.supervisor.farewell = failing
            process.election.free.set()
            await asyncio.sleep(10)
            process.supervisor.stop()
            await asyncio.wait_for(task, 20)
            assert process.diary[-1] == "released"

    run(tell())


def test_what_the_probes_hear() -> None:
    async def tell() -> None:
        async with running() as (process, _):
            supervisor = process.supervisor
            assert supervisor.readiness_failures() == []
            process.election.silent = 31
            assert supervisor.readiness_failures() == ["the Kubernetes API is away for 31 s"]
            process.watches = WatchHealth(["jobs"], asyncio.get_running_loop().time)
            process.election.free.set()
            await asyncio.sleep(1)
            assert supervisor.readiness_failures() == ["the first lists are not read yet"]
            process.watches.compare("jobs", {"a": 1}, {"a": 1})
            assert supervisor.readiness_failures() == []
            process.watches.compare("jobs", {"a": 2}, {"a": 1})
            await asyncio.sleep(120)
            process.watches.compare("jobs", {"a": 3}, {"a": 1})
            assert supervisor.readiness_failures() == ["the watch of jobs is dead"]

    run(tell())


@pytest.mark.parametrize(
    ("last", "lived", "pause"), [(0, 0, 1), (1, 0, 2), (16, 5, 30), (30, 59, 30), (30, 60, 1)]
)
def test_pauses_grow_while_nothing_gets_better(last: float, lived: float, pause: float) -> None:
    assert next_pause(last, lived) == pause
