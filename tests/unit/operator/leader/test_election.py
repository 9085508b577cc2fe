"""Candidates that race for one Lease, in virtual time."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from backupexport_operator.kube.client import NotLeadingError
from backupexport_operator.leader.decision import LeaseRecord, Timings
from backupexport_operator.leader.election import Leadership, silence_leaders
from backupexport_operator.leader.lease import LeaseStore, LeaseTakenError
from kubernetes.aio.client.exceptions import ApiException
from virtual_time import VirtualLoop, run

TIMINGS = Timings(lease=10, renew_deadline=7, retry=2)


@dataclass
class Server:
    """The API server's one Lease."""

    record: LeaseRecord | None = None
    version: int = 0
    writes: int = 0

    def put(self, record: LeaseRecord | None) -> None:
        self.record = record
        self.version += 1


@dataclass
class Store(LeaseStore):
    """One process's way to the server, which may be slow, broken or hanging."""

    server: Server
    seconds: float = 0.01
    error: Exception | None = None
    hangs: bool = False
    lost_answers: bool = False
    seen: int = field(default=0)
    tries: list[float] = field(default_factory=list)

    async def read(self) -> LeaseRecord | None:
        await self._travel()
        self.seen = self.server.version
        return self.server.record

    async def write(self, holder: str, lease: float) -> LeaseRecord:
        await self._travel()
        if self.seen != self.server.version:
            raise LeaseTakenError("409")
        self.server.writes += 1
        self.server.put(LeaseRecord(holder, lease, f"{holder} {self.server.writes}"))
        if self.lost_answers:
            await asyncio.sleep(3600)
        self.seen = self.server.version
        assert self.server.record is not None
        return self.server.record

    async def _travel(self) -> None:
        self.tries.append(loop().time())
        await asyncio.sleep(3600 if self.hangs else self.seconds)
        if self.error is not None:
            raise self.error


def loop() -> VirtualLoop:
    running = asyncio.get_running_loop()
    assert isinstance(running, VirtualLoop)
    return running


def clock(offset: float = 0.0, speed: float = 1.0) -> Callable[[], float]:
    return lambda: loop().time() * speed + offset


class Replica:
    """A process that leads whenever it may; `periods` are the times in which it did."""

    def __init__(self, name: str, server: Server, offset: float = 0.0, speed: float = 1.0) -> None:
        self.store = Store(server)
        self.leadership = Leadership(self.store, name, TIMINGS, clock(offset, speed))
        self.stopping = asyncio.Event()
        self.reasons: list[str] = []

    async def live(self) -> None:
        while await self.leadership.acquire(self.stopping):
            self.reasons.append(await self.leadership.keep())


@asynccontextmanager
async def living(*replicas: Replica) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(replica.live()) for replica in replicas]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until(condition: Callable[[], bool], limit: float = 60) -> float:
    """How long it took."""
    began = loop().time()
    while not condition():
        assert loop().time() - began < limit, "it did not come true"
        await asyncio.sleep(0.05)
    return loop().time() - began


async def never_both(seconds: float, *replicas: Replica) -> None:
    for _ in range(round(seconds / 0.05)):
        assert sum(replica.leadership.holds() for replica in replicas) <= 1
        await asyncio.sleep(0.05)


def story(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """A test in virtual time."""

    def told() -> None:
        run(test())

    told.__name__ = test.__name__
    return told


@story
async def test_the_first_one_leads_at_once_and_the_second_waits() -> None:
    server = Server()
    first, second = Replica("a", server), Replica("b", server)
    async with living(first, second):
        assert await until(lambda: first.leadership.holds() or second.leadership.holds()) < 1
        leader, other = (first, second) if first.leadership.holds() else (second, first)
        for _ in range(1000):
            assert leader.leadership.holds()
            assert not other.leadership.holds()
            await asyncio.sleep(0.1)


@story
async def test_two_that_start_together_are_one_leader() -> None:
    server = Server()
    replicas = [Replica(name, server) for name in "abcd"]
    async with living(*replicas):
        await asyncio.sleep(1)
        assert sum(replica.leadership.holds() for replica in replicas) == 1
        await never_both(60, *replicas)


@story
async def test_a_sudden_death_is_noticed_in_time() -> None:
    server = Server()
    first, second = Replica("a", server), Replica("b", server)
    async with living(first):
        await until(first.leadership.holds)
    async with living(second):
        took = await until(second.leadership.holds)
    assert TIMINGS.lease <= took < 13


@story
async def test_a_graceful_end_hands_over_at_the_next_look() -> None:
    server = Server()
    first, second = Replica("a", server), Replica("b", server)
    async with living(first):
        await until(first.leadership.holds)
    async with living(second):
        await asyncio.sleep(5)
        await first.leadership.release()
        assert not first.leadership.holds()
        assert await until(second.leadership.holds) <= TIMINGS.retry + 0.1


@story
async def test_a_late_renewal_of_our_own_does_not_keep_the_lease_from_being_given_back() -> None:
    server = Server()
    replica = Replica("a", server)
    async with living(replica):
        await until(replica.leadership.holds)
    server.put(LeaseRecord("a", 10, "sent before the end"))
    await replica.leadership.release()
    assert server.record is not None
    assert server.record.holder == ""


@story
async def test_a_restarted_container_leads_at_once() -> None:
    server = Server(LeaseRecord("a", 10, "of its former life"))
    replica = Replica("a", server)
    async with living(replica):
        assert await until(replica.leadership.holds) < 0.1


FAILURES: dict[str, dict[str, Any]] = {
    "500": {"error": ApiException(status=500, reason="Internal Server Error")},
    "403": {"error": ApiException(status=403, reason="Forbidden")},
    "refused": {"error": aiohttp.ClientConnectionError("refused")},
    "hanging": {"hangs": True},
    "a bug": {"error": KeyError("spec")},
    "lost answers": {"lost_answers": True},
}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
def test_a_leader_that_can_not_renew_stops_before_another_may_lead(
    failure: dict[str, Any],
) -> None:
    async def tell() -> None:
        server = Server()
        first, second = Replica("a", server), Replica("b", server)
        async with living(first):
            await until(first.leadership.holds)
            async with living(second):
                await asyncio.sleep(9)
                for name, value in failure.items():
                    setattr(first.store, name, value)
                await never_both(30, first, second)
                assert second.leadership.holds()
                assert first.reasons == ["not renewed for 7 s"]

    run(tell())


@story
async def test_a_leader_without_a_rival_leads_again_when_the_server_is_back() -> None:
    server = Server()
    replica = Replica("a", server)
    async with living(replica):
        await until(replica.leadership.holds)
        replica.store.error = ApiException(status=503, reason="Service Unavailable")
        assert await until(lambda: not replica.leadership.holds()) <= 7.1
        await asyncio.sleep(60)
        assert not replica.leadership.holds()
        replica.store.error = None
        assert await until(replica.leadership.holds) <= 2.1


@story
async def test_one_hung_renewal_is_survived() -> None:
    replica = Replica("a", Server())
    async with living(replica):
        await until(replica.leadership.holds)
        replica.store.hangs = True
        await asyncio.sleep(TIMINGS.retry + 1)
        replica.store.hangs = False
        for _ in range(600):
            assert replica.leadership.holds()
            await asyncio.sleep(0.1)
    assert not replica.reasons


@pytest.mark.parametrize("speed", [0.97, 1.0, 1.03])
@pytest.mark.parametrize("offset", [-1e6, 0.0, 1e6])
def test_clocks_of_others_don_t_matter(offset: float, speed: float) -> None:
    async def tell() -> None:
        server = Server()
        first, second = Replica("a", server), Replica("b", server, offset, speed)
        async with living(first):
            await until(first.leadership.holds)
            async with living(second):
                await never_both(60, first, second)
                assert first.leadership.holds()
                first.store.hangs = True
                await never_both(30, first, second)
                assert second.leadership.holds()

    run(tell())


@story
async def test_a_sleeper_knows_before_it_does_anything() -> None:
    replica = Replica("a", Server())
    async with living(replica):
        await until(replica.leadership.holds)
        assert replica.leadership.seconds_to_write() <= 8.5
        loop().freeze(7)
        # Not one callback of its loop has run.
        assert not replica.leadership.holds()
        with pytest.raises(NotLeadingError):
            replica.leadership.seconds_to_write()


@story
async def test_a_renewal_that_a_sleeper_finds_answered_is_worth_nothing() -> None:
    replica = Replica("a", Server())
    async with living(replica):
        await until(replica.leadership.holds)
        replica.store.seconds = 0.5
        await asyncio.sleep(2.3)
        loop().freeze(8)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not replica.leadership.holds()


@story
async def test_a_slow_renewal_counts_from_its_beginning() -> None:
    server = Server()
    replica = Replica("a", server)
    async with living(replica):
        await until(replica.leadership.holds)
        replica.store.seconds = 3
        await until(lambda: server.writes == 2)
        assert replica.leadership.seconds_to_write() <= 8.5 - 3


@story
async def test_a_lease_taken_away_is_lost_at_the_next_renewal() -> None:
    server = Server()
    replica = Replica("a", server)
    async with living(replica):
        await until(replica.leadership.holds)
        server.put(LeaseRecord("b", 10, "b"))
        assert await until(lambda: not replica.leadership.holds()) <= 2.1
        assert replica.reasons == ["another replica holds the Lease"]


@story
async def test_a_label_on_the_lease_costs_nothing() -> None:
    server = Server()
    replica = Replica("a", server)
    async with living(replica):
        await until(replica.leadership.holds)
        for _ in range(20):
            server.put(server.record)
            await asyncio.sleep(1)
            assert replica.leadership.holds()


@story
async def test_a_deleted_lease_makes_no_second_leader() -> None:
    server = Server()
    first, second = Replica("a", server), Replica("b", server)
    async with living(first):
        await until(first.leadership.holds)
        async with living(second):
            await asyncio.sleep(5)
            server.put(None)
            await never_both(30, first, second)
            assert first.leadership.holds()


@story
async def test_a_candidate_can_be_told_to_stop() -> None:
    server = Server(LeaseRecord("other", 10, "1"))
    replica = Replica("a", server)
    task = asyncio.create_task(replica.live())
    await asyncio.sleep(3)
    replica.stopping.set()
    await asyncio.wait_for(task, 0.1)
    await replica.leadership.release()
    assert server.record == LeaseRecord("other", 10, "1")


@story
async def test_leaders_can_be_silenced() -> None:
    server = Server()
    first, second = Replica("a", server), Replica("b", server)
    async with living(first, second):
        await until(lambda: first.leadership.holds() or second.leadership.holds())
        began = loop().time()
        await silence_leaders(Store(server), "c", TIMINGS, quiet=30)
        assert loop().time() - began >= TIMINGS.lease
        while loop().time() - began < 29.9:
            assert not first.leadership.holds()
            assert not second.leadership.holds()
            await asyncio.sleep(0.1)
        await until(lambda: first.leadership.holds() or second.leadership.holds(), 5)


@story
async def test_nobody_to_silence_costs_no_time() -> None:
    server = Server()
    await silence_leaders(Store(server), "c", TIMINGS, quiet=30)
    assert loop().time() < 1
    assert server.record is not None
    assert server.record.holder == "c"


def told_to_wait(seconds: int) -> ApiException:
    refusal = ApiException(status=429, reason="Too Many Requests")
    refusal.headers = {"Retry-After": str(seconds)}
    return refusal


@story
async def test_a_candidate_leaves_the_api_server_alone_as_long_as_it_asks() -> None:
    replica = Replica("a", Server())
    replica.store.error = told_to_wait(5)
    async with living(replica):
        await asyncio.sleep(10.5)
        assert replica.store.tries == [pytest.approx(at, abs=0.1) for at in (0, 5, 10)]
        replica.store.error = None
        assert await until(replica.leadership.holds) == pytest.approx(4.6, abs=0.2)


@pytest.mark.parametrize("asked", [3, 60])
def test_a_leader_leaves_it_alone_but_does_not_lose_the_lease_for_that(asked: int) -> None:
    """Of the seven seconds that it leads without a renewal, some are left for a last try."""

    async def tell() -> None:
        replica = Replica("a", Server())
        async with living(replica):
            await until(replica.leadership.holds)
            await asyncio.sleep(1)
            replica.store.error = told_to_wait(asked)
            renewed = len(replica.store.tries)
            await until(lambda: len(replica.store.tries) > renewed)
            refused = loop().time()
            replica.store.error = None
            tries = len(replica.store.tries)
            waited = await until(lambda: len(replica.store.tries) > tries)
            assert min(asked, 2) <= waited <= 4, refused
            for _ in range(100):
                assert replica.leadership.holds()
                await asyncio.sleep(0.1)

    run(tell())
