"""GET /api/jobs/{job_id}/events: over real connections."""

import asyncio
import itertools
import json
import re
import signal
import socket
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest
import uvicorn
from backupexport_api.app import create_app
from backupexport_api.auth.authentication import keys_unavailable, token_invalid
from backupexport_api.events import streams
from backupexport_api.events.job_events import ClientState
from backupexport_api.http.draining import DrainingServer
from backupexport_api.http.transport import HttpProtocol
from backupexport_api.jobs.cached_job import CachedJob
from backupexport_api.telemetry.metrics import Metrics
from event_listeners import Event, Parser

Make = Callable[..., Any]

JOB = "4f3c0a52-8f0e-4d0a-9d07-6a34d1f3a001"
RUNNING = {"phase": "Running"}
DONE = {"phase": "Succeeded"}


def manifest(job_id: str = JOB, project_id: str = "proj-123") -> dict[str, Any]:
    return {"metadata": {"name": job_id}, "spec": {"projectId": project_id}}


def at(percent: int) -> dict[str, Any]:
    sizes = {"dumpedBytes": percent, "estimatedBytes": 100}
    return {"phase": "Running", "progress": {"percent": percent, "display": "", **sizes}}


class Stream:
    """An open stream and what has come of it."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.parser = Parser()
        self.events: list[Event] = []
        self.ended = False
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for text in self.response.aiter_text():
            self.events += self.parser.feed(text)
        self.ended = True

    async def statuses(self, count: int) -> list[str]:
        """The job's status in each event once there are `count`."""
        await until(lambda: len(self.events) >= count)
        return [json.loads(event.data).get("status", event.type) for event in self.events]

    async def end(self) -> None:
        """Wait for the server to end it, cleanly."""
        async with asyncio.timeout(60):
            await self._reading

    def stop(self) -> None:
        self._reading.cancel()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.005)


class Served:
    """A server on loopback."""

    def __init__(self, server: DrainingServer, app: Any, metrics: Metrics) -> None:
        self.server, self.app, self.metrics = server, app, metrics
        self.client: httpx.AsyncClient

    @property
    def port(self) -> int:
        port: int = self.server.servers[0].sockets[0].getsockname()[1]
        return port

    @asynccontextmanager
    async def stream(
        self, headers: dict[str, str], job_id: str = JOB, last: str | None = None
    ) -> AsyncIterator[Stream]:
        headers = headers if last is None else {**headers, "Last-Event-ID": last}
        path = f"/api/jobs/{job_id}/events"
        async with self.client.stream("GET", path, headers=headers) as response:
            assert response.status_code == 200, await response.aread()
            stream = Stream(response)
            try:
                yield stream
            finally:
                stream.stop()

    def open_streams(self) -> float:
        text = self.metrics.exposition().decode()
        (line,) = [x for x in text.splitlines() if x.startswith("backupexport_event_streams ")]
        return float(line.split()[1])


@pytest.fixture
async def serve(store: Any, make_settings: Make) -> AsyncIterator[Make]:
    started: list[tuple[Served, asyncio.Task[None]]] = []

    async def start(drain_seconds: float = 0, **environment: str) -> Served:
        metrics = Metrics()
        app = create_app(make_settings(**environment), store, metrics)
        config = uvicorn.Config(
            app,
            host="127.0.0.1",
            port=0,
            http=HttpProtocol,
            log_config=None,
            timeout_graceful_shutdown=60,
        )
        server = DrainingServer(config, drain_seconds, app.state.event_streams.end_all)
        served = Served(server, app, metrics)
        task = asyncio.create_task(server.serve())
        started.append((served, task))
        await until(lambda: server.started)
        served.client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{served.port}", timeout=60)
        return served

    yield start
    for served, task in started:
        await served.client.aclose()
        served.server.should_exit = True
        await task


async def test_the_state_at_once_then_every_change_then_the_end(
    serve: Make, store: Any, bearer: Make
) -> None:
    served = await serve()
    store.put(manifest())
    async with served.stream(bearer()) as stream:
        assert await stream.statuses(1) == ["pending"]
        store.put(manifest(), **RUNNING)
        assert await stream.statuses(2) == ["pending", "running"]
        store.put(manifest(), **DONE)
        await stream.end()
    assert await stream.statuses(3) == ["pending", "running", "completed"]
    headers = stream.response.headers
    assert headers["Content-Type"] == "text/event-stream"
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Accel-Buffering"] == "no"
    assert headers["Connection"] == "close"
    assert headers["RateLimit-Remaining"] == "599"
    job = (await served.client.get(f"/api/jobs/{JOB}", headers=bearer())).json()["data"]
    assert json.loads(stream.events[-1].data) == job
    assert stream.events[-1].id == store.index.get(JOB).resource_version
    assert 1000 <= (stream.parser.retry_milliseconds or 0) <= 4000
    await until(lambda: served.open_streams() == 0)
    assert store.listeners._listeners == {}


async def test_clients_are_told_to_come_back_at_different_times(
    serve: Make, store: Any, bearer: Make
) -> None:
    served = await serve()
    store.put(manifest(), **DONE)
    pauses = set()
    for _ in range(5):
        async with served.stream(bearer()) as stream:
            await stream.end()
        pauses.add(stream.parser.retry_milliseconds)
    assert len(pauses) > 1


async def test_what_does_not_show_is_no_event(serve: Make, store: Any, bearer: Make) -> None:
    served = await serve()
    store.put(manifest(), **at(1))
    async with served.stream(bearer()) as stream:
        await stream.statuses(1)
        store.put(manifest(), **at(1))
        await asyncio.sleep(0.05)
        store.put(manifest("another-one"), **at(5))
        store.put(manifest(), **at(2))
        await stream.statuses(2)
        assert [json.loads(event.data)["progress"]["percent"] for event in stream.events] == [1, 2]


async def test_a_change_while_the_job_is_looked_up_is_not_missed(
    serve: Make, store: Any, bearer: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = await serve()
    store.put(manifest(), **RUNNING)
    find_job = store.find_job

    async def find_late(*arguments: Any) -> CachedJob:
        found: CachedJob = await find_job(*arguments)
        store.put(manifest(), **DONE)
        await asyncio.sleep(0.01)
        return found

    monkeypatch.setattr(store, "find_job", find_late)
    async with served.stream(bearer()) as stream:
        await stream.end()
    assert (await stream.statuses(1))[-1] == "completed"


async def test_it_goes_on_where_it_was_cut(serve: Make, store: Any, bearer: Make) -> None:
    first, second = await serve(), await serve()
    store.put(manifest(), **RUNNING)
    async with first.stream(bearer()) as stream:
        await stream.statuses(1)
    last = stream.parser.last_event_id
    # Nothing missed: nothing comes until something changes.
    async with second.stream(bearer(), last=last) as stream:
        await until(lambda: stream.parser.retry_milliseconds is not None)
        await asyncio.sleep(0.05)
        assert stream.events == []
        store.put(manifest(), **at(7))
        await stream.statuses(1)
    # A change missed: it comes at once.
    async with second.stream(bearer(), last=last) as stream:
        await stream.statuses(1)
    store.put(manifest(), **DONE)
    async with first.stream(bearer(), last=last) as stream:
        await stream.end()
    assert await stream.statuses(1) == ["completed"]
    answer = await second.client.get(
        f"/api/jobs/{JOB}/events",
        headers={**bearer(), "Last-Event-ID": stream.parser.last_event_id},
    )
    assert (answer.status_code, answer.content) == (204, b"")


async def test_a_replica_that_is_behind_shows_nothing_older(
    serve: Make, store: Any, bearer: Make
) -> None:
    served = await serve()
    version = int(store.put(manifest(), **at(1)).resource_version)
    async with served.stream(bearer(), last=str(version + 2)) as stream:
        store.put(manifest(), **at(2))
        await asyncio.sleep(0.05)
        assert stream.events == []
        store.put(manifest(), **at(3))
        store.put(manifest(), **at(4))
        await until(lambda: bool(stream.events))
        assert json.loads(stream.events[0].data)["progress"]["percent"] == 4


async def test_a_cache_that_is_behind_a_direct_read_shows_nothing_older(
    serve: Make, store: Any, bearer: Make
) -> None:
    served = await serve(EVENT_HEARTBEAT_SECONDS="0.05")
    older = store.put(manifest(), **at(1))
    store.put(manifest(), **at(2))
    async with served.stream(bearer()) as stream:
        await stream.statuses(1)
        store.index.put(older)
        await until(lambda: stream.parser.comments >= 3)
        store.put(manifest(), **at(3))
        await stream.statuses(2)
    assert [json.loads(event.data)["progress"]["percent"] for event in stream.events] == [2, 3]


async def test_an_id_that_never_was_holds_the_state_back_for_one_heartbeat(
    serve: Make, store: Any, bearer: Make
) -> None:
    served = await serve(EVENT_HEARTBEAT_SECONDS="0.1")
    store.put(manifest(), **DONE)
    for last in ("99999999999999999999", "-1", "x", "9" * 5000):
        async with served.stream(bearer(), last=last) as stream:
            assert await stream.statuses(1) == ["completed"]
            await stream.end()


@pytest.mark.parametrize(
    ("last", "ours", "newer"),
    [
        ("10", "9", True), ("9", "10", False), ("9", "9", False), ("x", "9", False),
        ("10", "x", False), (None, "9", False), ("", "9", False), ("1" * 21, "9", False),
    ],
)  # fmt: skip
def test_versions_are_compared_as_numbers(
    store: Any, last: str | None, ours: str, newer: bool
) -> None:
    resource = {**manifest(), "metadata": {**manifest()["metadata"], "resourceVersion": ours}}
    resource["metadata"] |= {"uid": "u", "creationTimestamp": "2026-01-29T15:30:00Z"}
    assert ClientState(last).is_newer_than(CachedJob.of(resource)) is newer


async def test_it_stays_open_until_every_delivery_has_ended(
    serve: Make, store: Any, bearer: Make
) -> None:
    served = await serve(EVENT_HEARTBEAT_SECONDS="0.05")
    store.put(manifest(), **DONE, deliveryPending=True)
    async with served.stream(bearer()) as stream:
        await until(lambda: stream.parser.comments >= 2)
        assert not stream.ended
        store.put(manifest(), **DONE, deliveryPending=False)
        await stream.end()
    # The same to look at, but its id is the one that says that there is no more.
    assert await stream.statuses(2) == ["completed", "completed"]
    last = stream.parser.last_event_id
    answer = await served.client.get(
        f"/api/jobs/{JOB}/events", headers={**bearer(), "Last-Event-ID": last}
    )
    assert answer.status_code == 204


async def test_a_job_that_is_deleted_is_gone(serve: Make, store: Any, bearer: Make) -> None:
    served = await serve()
    store.put(manifest(), **RUNNING)
    async with served.stream(bearer()) as stream:
        await stream.statuses(1)
        store.index.discard(JOB)
        await stream.end()
    assert await stream.statuses(2) == ["running", "gone"]
    assert json.loads(stream.events[-1].data) == {"job_id": JOB}
    answer = await served.client.get(f"/api/jobs/{JOB}/events", headers=bearer())
    assert answer.status_code == 404


async def test_a_namesake_of_another_project_is_not_shown(
    serve: Make, store: Any, bearer: Make
) -> None:
    served = await serve()
    store.put(manifest(), **RUNNING)
    async with served.stream(bearer(projects=["proj-123"])) as stream:
        await stream.statuses(1)
        store.put(manifest(project_id="other"), **DONE)
        await stream.end()
    assert await stream.statuses(2) == ["running", "gone"]
    assert "other" not in stream.events[-1].data


async def test_a_kubectl_made_job_that_is_made_anew_is_gone(
    serve: Make, store: Any, bearer: Make
) -> None:
    served = await serve()
    job = store.put(manifest("nightly"), **RUNNING)
    async with served.stream(bearer(), job_id=job.job_id) as stream:
        await stream.statuses(1)
        again = manifest("nightly")
        again["metadata"]["uid"] = str(uuid.uuid4())
        store.put(again, **RUNNING)
        await stream.end()
    assert await stream.statuses(2) == ["running", "gone"]


async def test_who_may_listen_is_who_may_look(
    client: httpx.AsyncClient, store: Any, bearer: Make
) -> None:
    store.put(manifest())
    for path, headers in (
        (JOB, {}),
        (JOB, {"Authorization": "Bearer x"}),
        (JOB, bearer(projects=["other"])),
        ("not-a-uuid", bearer()),
        (str(uuid.uuid4()), bearer()),
    ):
        look = await client.get(f"/api/jobs/{path}", headers=headers)
        listen = await client.get(f"/api/jobs/{path}/events", headers=headers)
        assert listen.status_code == look.status_code in (401, 404)
        assert listen.json()["code"] == look.json()["code"]
    assert store.listeners._listeners == {}


async def test_a_stream_counts_as_one_read(make_client: Make, store: Any, bearer: Make) -> None:
    store.put(manifest(), **DONE)
    async with make_client(READ_RATE_LIMIT="2/minute") as client:
        answers = [
            (await client.get(path, headers=bearer())).status_code
            for path in [f"/api/jobs/{JOB}/events", f"/api/jobs/{JOB}"] * 2
        ]
    assert answers == [200, 200, 429, 429]


async def test_a_token_that_expires_ends_it(serve: Make, store: Any, bearer: Make) -> None:
    served = await serve()
    store.put(manifest(), **RUNNING)
    # The leeway of five seconds counts here, too, and is time enough to be let in.
    async with served.stream(bearer(exp=int(time.time()) + 1)) as stream:
        await stream.statuses(1)
        await stream.end()
    assert len(stream.events) == 1
    assert stream.parser.comments == 0


async def test_none_lasts_for_ever(serve: Make, store: Any, bearer: Make) -> None:
    served = await serve(EVENT_STREAM_SECONDS="0.1")
    store.put(manifest(), **RUNNING)
    async with served.stream(bearer()) as stream:
        await stream.end()
    assert await stream.statuses(1) == ["running"]
    lifetimes = {served.app.state.event_streams.lifetime() for _ in range(100)}
    assert len(lifetimes) > 1
    assert all(0.05 <= seconds <= 0.1 for seconds in lifetimes)


async def test_a_token_that_is_good_no_more_ends_it(
    serve: Make, store: Any, bearer: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = await serve(EVENT_HEARTBEAT_SECONDS="0.05")
    store.put(manifest(), **RUNNING)
    async with served.stream(bearer()) as stream:
        await until(lambda: stream.parser.comments >= 2)

        async def refuse(_: str) -> None:
            raise token_invalid("it was signed with a key that is not known")

        monkeypatch.setattr(served.app.state.authenticator, "caller_of", refuse)
        await stream.end()


@asynccontextmanager
async def busy(store: Any) -> AsyncIterator[None]:
    """A job that changes three times and more between two heartbeats of 0.3 seconds."""

    async def change() -> None:
        for number in itertools.count():
            store.put(manifest(), **at(number % 100))
            await asyncio.sleep(0.08)

    changing = asyncio.create_task(change())
    try:
        yield
    finally:
        changing.cancel()


async def test_a_token_that_is_good_no_more_ends_it_however_busy_the_job_is(
    serve: Make, store: Any, bearer: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = await serve(EVENT_HEARTBEAT_SECONDS="0.3")
    store.put(manifest(), **RUNNING)
    async with busy(store), served.stream(bearer()) as stream:
        await stream.statuses(8)
        assert not stream.ended

        async def refuse(_: str) -> None:
            raise token_invalid("it was signed with a key that is not known")

        monkeypatch.setattr(served.app.state.authenticator, "caller_of", refuse)
        await stream.end()


async def test_an_id_that_never_was_holds_a_busy_job_back_for_one_heartbeat_alone(
    serve: Make, store: Any, bearer: Make
) -> None:
    served = await serve(EVENT_HEARTBEAT_SECONDS="0.3")
    store.put(manifest(), **RUNNING)
    started = time.monotonic()
    async with busy(store), served.stream(bearer(), last="9" * 20) as stream:
        await stream.statuses(1)
        assert 0.29 < time.monotonic() - started < 30
        await stream.statuses(2)


async def test_changes_that_nobody_is_shown_put_no_heartbeat_off(
    serve: Make, store: Any, bearer: Make
) -> None:
    served = await serve(EVENT_HEARTBEAT_SECONDS="0.3")
    store.put(manifest(), **at(1))

    async def touch() -> None:
        while True:
            store.put(manifest(), **at(1))
            await asyncio.sleep(0.08)

    async with served.stream(bearer()) as stream:
        touching = asyncio.create_task(touch())
        await until(lambda: stream.parser.comments >= 2)
        touching.cancel()
    assert len(stream.events) == 1


async def test_keys_that_can_t_be_read_for_now_end_nothing(
    serve: Make, store: Any, bearer: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = await serve(EVENT_HEARTBEAT_SECONDS="0.05")
    store.put(manifest(), **RUNNING)
    async with served.stream(bearer()) as stream:
        await stream.statuses(1)

        async def fail(_: str) -> None:
            raise keys_unavailable()

        monkeypatch.setattr(served.app.state.authenticator, "caller_of", fail)
        await until(lambda: stream.parser.comments >= 3)
        assert not stream.ended


async def test_there_are_only_so_many(serve: Make, store: Any, bearer: Make) -> None:
    served = await serve(MOST_EVENT_STREAMS="2")
    store.put(manifest(), **RUNNING)
    async with served.stream(bearer()) as one, served.stream(bearer()) as two:
        await one.statuses(1)
        await two.statuses(1)
        assert served.open_streams() == 2
        answer = await served.client.get(f"/api/jobs/{JOB}/events", headers=bearer())
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "5"
        assert answer.json()["code"] == "too_many_streams"
    await until(lambda: served.open_streams() == 0)
    async with served.stream(bearer()) as stream:
        await stream.statuses(1)


async def test_a_caller_has_a_share_of_them(serve: Make, store: Any, bearer: Make) -> None:
    served = await serve(MOST_EVENT_STREAMS="3", MOST_EVENT_STREAMS_EACH="2")
    store.put(manifest(), **RUNNING)
    async with served.stream(bearer()) as one, served.stream(bearer()) as two:
        await one.statuses(1)
        await two.statuses(1)
        mine = await served.client.get(f"/api/jobs/{JOB}/events", headers=bearer())
        assert (mine.status_code, mine.json()["code"]) == (429, "too_many_streams")
        assert mine.headers["Retry-After"] == "5"
        async with served.stream(bearer(sub="bob")) as other:
            await other.statuses(1)
            others = await served.client.get(f"/api/jobs/{JOB}/events", headers=bearer(sub="carol"))
            assert (others.status_code, others.json()["code"]) == (503, "too_many_streams")
    await until(lambda: served.open_streams() == 0)
    async with served.stream(bearer()) as stream:
        await stream.statuses(1)


def test_two_hundred_may_watch_a_job_with_one_token(make_settings: Make) -> None:
    assert make_settings().most_event_streams_each >= 200
    assert make_settings().most_event_streams_each < make_settings().most_event_streams


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
async def test_a_server_that_ends_ends_its_streams_first(
    serve: Make, store: Any, bearer: Make, sent: int
) -> None:
    served = await serve(drain_seconds=60 if sent == signal.SIGTERM else 0)
    store.put(manifest(), **RUNNING)
    async with served.stream(bearer()) as stream:
        await stream.statuses(1)
        served.server.handle_exit(sent, None)
        started = time.monotonic()
        await stream.end()
        assert time.monotonic() - started < 30
    served.server._captured_signals.clear()
    if sent == signal.SIGTERM:
        # One that comes during the drain is told the state and sent on.
        async with served.stream(bearer()) as stream:
            await stream.end()
        assert await stream.statuses(1) == ["running"]
        assert not served.server.should_exit


@asynccontextmanager
async def stalled(served: Served, headers: dict[str, str]) -> AsyncIterator[asyncio.StreamReader]:
    """A client that reads nothing but what the reader is asked for."""
    async with unread(served) as (reader, writer):
        ask(writer, f"/api/jobs/{JOB}/events", headers)
        yield reader


@asynccontextmanager
async def unread(
    served: Served,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    opened = socket.create_connection(("127.0.0.1", served.port))
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    opened.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=opened, limit=64)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


def ask(writer: asyncio.StreamWriter, path: str, headers: dict[str, str]) -> None:
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n{head}\r\n".encode())


def large(percent: int) -> dict[str, Any]:
    return {**at(percent), "reason": "DumpFailed", "message": "x" * 16_000}


async def test_a_listener_that_takes_nothing_holds_next_to_nothing_and_is_cut(
    serve: Make,
    store: Any,
    bearer: Make,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("WARNING")
    monkeypatch.setattr(streams, "_PATIENCE_SECONDS", 3.0)
    served = await serve()
    store.put(manifest(), **large(0))
    async with stalled(served, bearer()), served.stream(bearer()) as other:
        await until(lambda: served.open_streams() == 2)
        held = []
        for number in range(1, 100):
            store.put(manifest(), **large(number))
            await other.statuses(number + 1)
            transports = [one.transport for one in served.server.server_state.connections]
            held.append(max(transport.get_write_buffer_size() for transport in transports))
        # One event at most, of which the system has taken a part.
        assert 0 < max(held) < 20_000
        await until(lambda: served.open_streams() == 1)
        # Not closed, which would wait for the client to take what is left.
        assert len(served.server.server_state.connections) == 1
    assert len(other.events) == 100
    assert caplog.records == []


async def test_a_listener_that_has_not_read_the_answer_before_is_cut(
    serve: Make,
    store: Any,
    bearer: Make,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("WARNING")
    monkeypatch.setattr(streams, "_PATIENCE_SECONDS", 3.0)
    served = await serve()
    store.put(manifest(), **large(0))
    async with unread(served) as (_, writer):
        await until(lambda: bool(served.server.server_state.connections))
        (connection,) = served.server.server_state.connections
        transport = connection.transport
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        transport.set_write_buffer_limits(1024 * 1024)
        async with asyncio.timeout(60):
            while not transport.get_write_buffer_size():
                ask(writer, f"/api/jobs/{JOB}", bearer())
                await asyncio.sleep(0.01)
        ask(writer, f"/api/jobs/{JOB}/events", bearer())
        await until(lambda: served.open_streams() == 1)
        await until(lambda: served.open_streams() == 0)
        await until(lambda: not served.server.server_state.connections)
    assert caplog.records == []


async def test_a_slow_listener_gets_the_newest_state(serve: Make, store: Any, bearer: Make) -> None:
    served = await serve()
    store.put(manifest(), **large(0))
    async with stalled(served, bearer()) as reader:
        await until(lambda: served.open_streams() == 1)
        for number in range(1, 100):
            store.put(manifest(), **large(number))
            await asyncio.sleep(0)
        store.put(manifest(), **DONE)
        text = (await reader.read()).decode()
    percents = re.findall(r'"percent":(\d+)', text)
    assert len(percents) < 50
    assert '"status":"completed"' in text
    assert text.endswith("0\r\n\r\n")


async def test_a_stalled_listener_does_not_hold_up_the_end_of_the_process(
    serve: Make, store: Any, bearer: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "_PATIENCE_SECONDS", 600)
    served = await serve()
    store.put(manifest(), **large(0))
    async with stalled(served, bearer()):
        await until(lambda: served.open_streams() == 1)
        for number in range(1, 20):
            store.put(manifest(), **large(number))
            await asyncio.sleep(0.02)
        served.app.state.event_streams.end_all()
        await until(lambda: served.open_streams() == 0)


async def test_a_client_that_leaves_leaves_nothing_behind(
    serve: Make, store: Any, bearer: Make
) -> None:
    served = await serve()
    store.put(manifest(), **RUNNING)
    async with served.stream(bearer()) as stream:
        await stream.statuses(1)
    await until(lambda: served.open_streams() == 0)
    assert store.listeners._listeners == {}


async def test_a_thousand_listeners_are_told_once_for_all(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    crossed: list[Any] = []
    cross = loop.call_soon_threadsafe

    def note(callback: Any, *arguments: Any) -> None:
        crossed.append(callback)
        cross(callback, *arguments)

    monkeypatch.setattr(loop, "call_soon_threadsafe", note)
    with ExitStack() as watching:
        watches = [watching.enter_context(store.listen_to_job(JOB)) for _ in range(1000)]
        job = await asyncio.to_thread(store.put, manifest(), **RUNNING)
        await until(lambda: all(watch.peek() for watch in watches))
        assert crossed.count(store.listeners._tell_all) == 1
        assert {watch.take().job for watch in watches} == {job}
        assert not any(watch.take() for watch in watches)


async def test_how_long_a_stream_lasts_is_no_delay(serve: Make, store: Any, bearer: Make) -> None:
    served = await serve(EVENT_HEARTBEAT_SECONDS="0.6")
    store.put(manifest(), **RUNNING)
    async with served.stream(bearer()) as stream:
        await until(lambda: stream.parser.comments >= 4)
        store.put(manifest(), **DONE)
        await stream.end()
    name = "http_request_duration_seconds_sum"
    labels = '{method="GET",route="/api/jobs/{job_id}/events",status="200"}'
    text = served.metrics.exposition().decode()
    (line,) = [line for line in text.splitlines() if line.startswith(name + labels)]
    assert float(line.split()[-1]) < 2
