"""Clients without a token: slow heads, endless bodies, what is no HTTP; others are served on."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx
import pytest
import uvicorn
from backupexport_api.app import create_app, create_health_app
from backupexport_api.http import connections as connections_module
from backupexport_api.http import unread_body
from backupexport_api.http.connections import Connections
from backupexport_api.http.draining import DrainingServer
from backupexport_api.telemetry.metrics import Metrics

Make = Callable[..., Any]
GET = b"GET /healthz HTTP/1.1\r\nHost: api\r\n\r\n"
HEAD = b"POST /api/backup/export HTTP/1.1\r\nHost: api\r\n"


class Served:
    """The API on loopback."""

    def __init__(self, server: DrainingServer, metrics: Metrics, headers: dict[str, str]) -> None:
        self.port = server.servers[0].sockets[0].getsockname()[1]
        self.health_port = server.servers[1].sockets[0].getsockname()[1]
        self.connections = server.server_state.connections
        self._metrics = metrics
        self._headers = headers
        self._writers: list[asyncio.StreamWriter] = []

    async def connect(self, sent: bytes = b"") -> "Client":
        """A client that has sent something."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self._writers.append(writer)
        writer.write(sent)
        return Client(reader, writer)

    async def close(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0)

    @property
    def token(self) -> bytes:
        return f"Authorization: {self._headers['Authorization']}\r\n".encode()

    async def serves_others(self) -> bool:
        """Whether a new client's export is accepted within five seconds.

        Of three tries one is enough: this machine may be busy with other things.
        """
        return any([await self._post_seconds() < 5 for _ in range(3)])

    async def _post_seconds(self) -> float:
        started = time.monotonic()
        url = f"http://127.0.0.1:{self.port}"
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            answer = await client.post(
                "/api/backup/export", json={"project_id": "proj-123"}, headers=self._headers
            )
        assert answer.status_code in (202, 429)
        return time.monotonic() - started

    def metric(self, series: str) -> float:
        """One series; 0 where there is none."""
        for line in self._metrics.exposition().decode().splitlines():
            if line.startswith(f"{series} "):
                return float(line.rpartition(" ")[2])
        return 0


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def head(self) -> tuple[int, dict[str, str]]:
        """The next answer's head: status, headers."""
        async with asyncio.timeout(60):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            fields = (line.partition(": ") for line in head[1:-2])
            return int(head[0].split()[1]), {name.lower(): value for name, _, value in fields}

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """The next answer: status, headers, body."""
        status, headers = await self.head()
        async with asyncio.timeout(60):
            length = int(headers.get("content-length", "0"))
            return status, headers, await self._reader.readexactly(length)

    async def problem(self, status: int, code: str) -> dict[str, str]:
        """The next answer's headers: of a problem that ends the connection."""
        seen, headers, body = await self.answer()
        told = json.loads(body)
        assert (seen, told["status"], told["code"]) == (status, status, code)
        assert headers["content-type"] == "application/problem+json"
        assert headers["connection"] == "close"
        assert told["request_id"] == headers["x-request-id"]
        return headers

    async def rest(self) -> bytes:
        """What else comes until the connection is closed."""
        async with asyncio.timeout(60):
            try:
                return await self._reader.read()
            except ConnectionError:
                return b""

    @contextmanager
    def sending(self, piece: bytes, pause: float) -> Iterator[None]:
        """Send a piece again and again."""

        async def send() -> None:
            while not self.writer.transport.is_closing():
                self.writer.write(piece)
                await self.writer.drain()
                await asyncio.sleep(pause)

        task = asyncio.create_task(send())
        try:
            yield
        finally:
            task.cancel()


@pytest.fixture
def serve(store: Any, make_settings: Make, bearer: Make) -> Make:
    """Serve with these settings."""

    @asynccontextmanager
    async def served(**environment: str) -> AsyncIterator[Served]:
        seconds = {"REQUEST_HEAD_SECONDS": "60", "REQUEST_BODY_SECONDS": "60"}
        settings = make_settings(**{**seconds, **environment})
        metrics = Metrics()
        connections = Connections(
            settings, metrics.observe_request, metrics.count_cut, metrics.connections.set
        )
        app = create_app(settings, store, metrics)
        config = uvicorn.Config(
            app,
            host="127.0.0.1",
            port=0,
            http=connections.protocol(),
            ws="none",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=5,
        )
        health = Connections(settings, metrics.observe_request, metrics.count_cut)
        second = (0, health.protocol(create_health_app(app)))
        server = DrainingServer(config, 0, second_port=second)
        serving = asyncio.create_task(server.serve())
        async with asyncio.timeout(60):
            while not server.started or len(server.servers) < 2:
                await asyncio.sleep(0.01)
        it = Served(server, metrics, bearer())
        try:
            yield it
        finally:
            await it.close()
            server.should_exit = True
            await serving

    return served


def took(started: float, seconds: float) -> bool:
    """Whether that much time has passed, and not much more, on a machine that may be busy."""
    return seconds * 0.9 < time.monotonic() - started < seconds + 10


async def test_a_slow_head_is_cut_off(serve: Make) -> None:
    async with serve(REQUEST_HEAD_SECONDS="0.4") as api:
        started, client = time.monotonic(), await api.connect(HEAD)
        # Each byte comes soon after the one before.
        with client.sending(b"x", 0.05):
            await client.problem(408, "request_timeout")
            assert took(started, 0.4)
            assert await client.rest() == b""
        assert api.metric('backupexport_connections_cut_total{reason="late_head"}') == 1
        seen = 'http_request_duration_seconds_count{method="other",route="(none)",status="408"}'
        assert api.metric(seen) == 1


async def test_a_connection_that_asks_nothing_is_closed(serve: Make) -> None:
    async with serve(REQUEST_HEAD_SECONDS="0.4") as api:
        started, client = time.monotonic(), await api.connect()
        # No answer: it would be taken for that of a request which is on its way.
        assert await client.rest() == b""
        assert took(started, 0.4)


async def test_the_second_head_has_its_time_from_its_first_byte(serve: Make) -> None:
    async with serve(REQUEST_HEAD_SECONDS="2") as api:
        client = await api.connect(b"GET /healthz HTTP/1.1\r\nHost: api\r\n\r\n")
        assert (await client.answer())[0] == 200
        await asyncio.sleep(2.3)
        client.writer.write(b"GET /healthz HTTP/1.1\r\n")
        await asyncio.sleep(0.2)
        started = time.monotonic()
        client.writer.write(b"Host: api\r\n\r\nGET /heal")
        assert (await client.answer())[0] == 200
        await client.problem(408, "request_timeout")
        assert took(started, 2)


async def test_a_slow_body_is_cut_off(serve: Make) -> None:
    async with serve(REQUEST_BODY_SECONDS="0.4") as api:
        head = HEAD + api.token + b"Content-Type: application/json\r\nContent-Length: 900\r\n\r\n"
        started, client = time.monotonic(), await api.connect(head)
        with client.sending(b" ", 0.05):
            await client.problem(408, "request_timeout")
            assert took(started, 0.4)
        # One answer, though the body ends now.
        client.writer.write(b" " * 900)
        assert await client.rest() == b""


BODIES = {
    "counted": (b"Content-Length: 99999999999\r\n\r\n", b"x" * 4096),
    "chunked": (b"Transfer-Encoding: chunked\r\n\r\n", b"1000\r\n" + b"x" * 4096 + b"\r\n"),
}


@pytest.mark.parametrize("kind", BODIES)
@pytest.mark.parametrize(
    ("line", "status", "code"),
    [
        (b"POST /api/backup/export", 401, "token_missing"),
        (b"POST /nowhere", 404, "not_found"),
        (b"PUT /api/backup/export", 405, "method_not_allowed"),
    ],
)
async def test_an_endless_body_ends_with_the_answer(
    serve: Make, kind: str, line: bytes, status: int, code: str
) -> None:
    framing, piece = BODIES[kind]
    async with serve() as api:
        client = await api.connect(line + b" HTTP/1.1\r\nHost: api\r\n" + framing)
        with client.sending(piece, 0):
            # It arrives, though the client still sends.
            await client.problem(status, code)
            assert await client.rest() == b""
        assert await api.serves_others()


@pytest.mark.parametrize("kind", BODIES)
async def test_an_endless_body_of_a_known_caller_is_too_large(serve: Make, kind: str) -> None:
    framing, piece = BODIES[kind]
    async with serve() as api:
        head = HEAD + api.token + b"Content-Type: application/json\r\n" + framing
        client = await api.connect(head)
        with client.sending(piece, 0):
            await client.problem(413, "body_too_large")
            assert await client.rest() == b""


async def test_a_body_that_a_get_has_nobody_waits_for(serve: Make) -> None:
    async with serve() as api:
        head = b"GET /healthz HTTP/1.1\r\nHost: api\r\nContent-Length: 10\r\n\r\n"
        client = await api.connect(head)
        status, headers, _ = await client.answer()
        assert (status, headers["connection"]) == (200, "close")
        assert await client.rest() == b""


@pytest.mark.parametrize("pause", [0.0, 0.01])
async def test_a_small_body_that_nobody_reads_costs_no_connection(
    serve: Make, pause: float
) -> None:
    async with serve() as api:
        client = await api.connect(HEAD + b"Content-Length: 2\r\n\r\n")
        await asyncio.sleep(pause)
        client.writer.write(b"{}")
        status, headers, _ = await client.answer()
        assert (status, "connection" in headers) == (401, False)
        client.writer.write(b"GET /healthz HTTP/1.1\r\nHost: api\r\n\r\n")
        assert (await client.answer())[0] == 200


async def test_a_client_that_waits_for_leave_sends_no_body_in_vain(serve: Make) -> None:
    async with serve() as api:
        client = await api.connect(HEAD + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        await client.problem(401, "token_missing")


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 TLS\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: api\r\nX: " + b"x" * 70_000,
        b"no http at all\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_a_problem_and_counted_once(serve: Make, sent: bytes) -> None:
    async with serve() as api:
        client = await api.connect(sent)
        await client.problem(400, "invalid_http")
        seen = 'http_request_duration_seconds_count{method="other",route="(none)",status="400"}'
        assert api.metric(seen) == 1


async def test_a_body_that_is_no_http_is_counted_once(serve: Make) -> None:
    async with serve() as api:
        head = HEAD + api.token + b"Content-Type: application/json\r\n"
        client = await api.connect(
            head + b"Transfer-Encoding: chunked\r\nX-Request-ID: mine\r\n\r\n"
        )
        await asyncio.sleep(0.1)
        client.writer.write(b"no chunk at all\r\n")
        headers = await client.problem(400, "invalid_http")
        assert headers["x-request-id"] == "mine"
        assert await client.rest() == b""
        count = "http_request_duration_seconds_count"
        labels = 'method="POST",route="/api/backup/export",status="400"'
        assert api.metric(f"{count}{{{labels}}}") == 1
        assert api.metric(f'{count}{{method="other",route="(none)",status="400"}}') == 0


async def test_a_thousand_half_open_connections_harm_nobody(serve: Make) -> None:
    async with serve() as api:
        clients = await asyncio.gather(*(api.connect(HEAD[: n % 60]) for n in range(1000)))
        with clients[0].sending(b"x", 0.01):
            assert await api.serves_others()


async def cuts(api: Served, reason: str, expected: int) -> None:
    """Wait until as many connections were cut for this reason."""
    series = f'backupexport_connections_cut_total{{reason="{reason}"}}'
    async with asyncio.timeout(60):
        while api.metric(series) != expected:
            await asyncio.sleep(0.01)


async def idle(api: Served) -> Client:
    """A client that has been served, and keeps its connection."""
    client = await api.connect(GET)
    assert (await client.answer())[0] == 200
    return client


async def test_where_all_places_are_taken_those_that_wait_go(serve: Make) -> None:
    async with serve(MOST_CONNECTIONS="4", REQUEST_HEAD_SECONDS="60") as api:
        half_open = [await api.connect(HEAD) for _ in range(2)]
        resting = [await idle(api) for _ in range(2)]
        # Kept-alive connections go first, the one that has rested longest before the other.
        newer = [await idle(api)]
        await cuts(api, "displaced", 1)
        assert await resting[0].rest() == b""
        resting[1].writer.write(GET)
        assert (await resting[1].answer())[0] == 200
        newer += [await api.connect(HEAD), await api.connect(HEAD), await api.connect(HEAD)]
        await cuts(api, "displaced", 4)
        assert await newer[0].rest() == await resting[1].rest() == await half_open[0].rest() == b""
        assert await api.serves_others()
        assert api.metric("backupexport_connections") <= 4


async def test_what_is_served_is_never_displaced(serve: Make, store: Any) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_: str) -> bool:
        asked.set()
        await go_on.wait()
        return True

    store.project_exists = slow
    async with serve(MOST_CONNECTIONS="1") as api:
        body = b'{"project_id": "proj-123"}'
        framing = b"Content-Type: application/json\r\nContent-Length: 26\r\n\r\n"
        served = await api.connect(HEAD + api.token + framing + body)
        await asked.wait()
        refused = await api.connect(GET)
        headers = await refused.problem(503, "too_many_connections")
        assert int(headers["retry-after"]) > 0
        await cuts(api, "refused", 1)
        go_on.set()
        assert (await served.answer())[0] == 202


async def test_thousands_of_half_open_connections_leave_room(serve: Make) -> None:
    async with serve(MOST_CONNECTIONS="200", REQUEST_HEAD_SECONDS="60") as api:
        attacking = True

        async def attack() -> None:
            while attacking:
                client = await api.connect(HEAD)
                await asyncio.sleep(0)
                assert client

        attackers = [asyncio.create_task(attack()) for _ in range(4)]
        for _ in range(3):
            assert await api.serves_others()
        attacking = False
        await asyncio.gather(*attackers)
        assert api.metric("backupexport_connections") <= 200


async def test_an_answer_that_nobody_takes_is_dropped(
    serve: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections_module, "_STALL_SECONDS", 2.0)
    async with serve() as api:
        # More than the system's buffers take; the second one waits for the first.
        asked = b"GET /assets/swagger-ui/swagger-ui-bundle.js HTTP/1.1\r\nHost: api\r\n\r\n"
        client = await api.connect()
        client.writer.transport.pause_reading()
        client.writer.write(asked * 20)
        await asyncio.sleep(0.2)
        held = [c.transport.get_write_buffer_size() for c in api.connections]
        assert max(held) < 256 * 1024
        await cuts(api, "stalled", 1)
        assert await api.serves_others()


async def test_pipelined_requests_are_served_one_by_one(serve: Make) -> None:
    async with serve() as api:
        client = await api.connect(GET * 500)
        assert await api.serves_others()
        for _ in range(500):
            assert (await client.answer())[0] == 200


async def test_a_flood_of_probes_harms_nobody(serve: Make) -> None:
    async with serve() as api:
        clients = [
            await api.connect(b"GET /readyz HTTP/1.1\r\nHost: api\r\n\r\n" * 20) for _ in range(20)
        ]
        assert await api.serves_others()
        for client in clients:
            assert (await client.answer())[0] == 200


async def probe(api: Served, path: str, method: str = "GET") -> httpx.Response:
    """The answer of the second port."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{api.health_port}") as client:
        return await client.request(method, path)


async def test_a_full_api_answers_its_probes(serve: Make, store: Any) -> None:
    asked = asyncio.Event()

    async def for_ever(_: str) -> bool:
        asked.set()
        return await asyncio.Event().wait()

    store.project_exists = for_ever
    async with serve(MOST_CONNECTIONS="1") as api:
        framing = b"Content-Type: application/json\r\nContent-Length: 26\r\n\r\n"
        await api.connect(HEAD + api.token + framing + b'{"project_id": "proj-123"}')
        await asked.wait()
        await (await api.connect(GET)).problem(503, "too_many_connections")
        for path in ("/healthz", "/readyz?exclude=kubernetes-api", "/metrics"):
            assert (await probe(api, path)).status_code == 200
        store.not_ready = ["everything"]
        assert (await probe(api, "/readyz")).json()["code"] == "not_ready"


@pytest.mark.parametrize("path", ["/", "/api/jobs", "/docs", "/openapi.json", "/nowhere"])
async def test_the_second_port_has_nothing_else(serve: Make, path: str) -> None:
    async with serve() as api:
        answer = await probe(api, path)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
        assert answer.headers["X-Request-ID"] == answer.json()["request_id"]


async def test_head_has_no_body(serve: Make) -> None:
    async with serve() as api:
        for path in (b"/healthz", b"/metrics", b"/openapi.json", b"/assets/app.js", b"/nowhere"):
            client = await api.connect()
            client.writer.write(b"HEAD " + path + b" HTTP/1.1\r\nHost: api\r\n\r\n" + GET)
            # What follows the head is the next answer.
            for expected in (404 if path == b"/nowhere" else 200, 200):
                assert (await client.head())[0] == expected


@pytest.mark.parametrize("kind", ["endless body", "unread answer"])
async def test_what_is_answered_gives_way(
    serve: Make, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # They stay until they are displaced, however long this machine takes to fill all places.
    monkeypatch.setattr(unread_body, "_LINGER_SECONDS", 600)
    async with serve(MOST_CONNECTIONS="20", REQUEST_HEAD_SECONDS="60") as api:
        for _ in range(20):
            client = await api.connect()
            if kind == "unread answer":
                client.writer.transport.pause_reading()
                asset = b"GET /assets/swagger-ui/swagger-ui-bundle.js HTTP/1.1\r\nHost: api\r\n\r\n"
                client.writer.write(asset * 20)
            else:
                client.writer.write(HEAD + b"Content-Length: 99999\r\n\r\n")
                await client.problem(401, "token_missing")
        async with asyncio.timeout(60):
            while not all(it._lingers or it.untaken_bytes() for it in api.connections):
                await asyncio.sleep(0.01)
        assert (await (await api.connect(GET)).answer())[0] == 200
        await cuts(api, "displaced", 1)


async def test_a_refused_client_that_reads_nothing_is_let_go(serve: Make) -> None:
    async with serve() as api:
        client = await api.connect()
        client.writer.transport.pause_reading()
        asset = b"GET /assets/swagger-ui/swagger-ui-bundle.js HTTP/1.1\r\nHost: api\r\n\r\n"
        # What is no HTTP comes while the answers before it wait.
        client.writer.write(asset * 5 + b"no http at all\r\n\r\n")
        client.writer.transport.resume_reading()
        assert await client.rest()
        async with asyncio.timeout(60):
            while api.connections:
                await asyncio.sleep(0.01)


async def test_the_metrics_can_be_kept_to_the_second_port(serve: Make) -> None:
    async with serve(METRICS_ON_PUBLIC_PORT="false") as api:
        for path in ("/metrics", "/healthz"):
            for method in ("GET", "HEAD"):
                assert (await probe(api, path, method)).status_code == 200, (method, path)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{api.port}") as client:
            refused, unknown = await client.get("/metrics"), await client.get("/nowhere")
            for path in ("/healthz", "/readyz", "/openapi.json"):
                assert (await client.get(path)).status_code == 200
    assert refused.status_code == unknown.status_code == 404
    problems = [{**answer.json(), "request_id": None} for answer in (refused, unknown)]
    assert problems[0] == problems[1]
