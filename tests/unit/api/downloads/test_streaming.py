"""Downloads over real connections: slow, vanishing and stubborn clients, a volume that hangs."""

import asyncio
import os
import resource
import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from backupexport_api.app import create_app
from backupexport_api.downloads import volume
from backupexport_api.downloads.answer import DownloadAnswer
from backupexport_api.downloads.byte_ranges import ByteRange
from backupexport_api.downloads.streaming import CHUNK_BYTES, DownloadResponse
from backupexport_api.downloads.volume import ExportFile
from backupexport_api.http.draining import DrainingServer
from backupexport_api.http.transport import HttpProtocol
from backupexport_api.telemetry.metrics import Metrics
from backupexport_runtime import volume as files
from exported_files import Exported, another_id, export, times_open

# More than the system's buffers of a connection take.
SIZE = 24 * 1024 * 1024


class Served:
    """The API on loopback, with one large export."""

    def __init__(
        self,
        server: DrainingServer,
        measured: Metrics,
        exported: Exported,
        headers: dict[str, str],
    ) -> None:
        self.server = server
        self._measured = measured
        self.exported = exported
        self.headers = headers
        self.port: int = server.servers[0].sockets[0].getsockname()[1]
        self._asked = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{self.port}", headers=headers, timeout=60
        )
        self._writers: list[asyncio.StreamWriter] = []

    async def close(self) -> None:
        """Close the connections of all clients."""
        await self._asked.aclose()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0)

    async def get(self, url: str | None = None, **headers: str) -> httpx.Response:
        return await self._asked.get(url or self.exported.url, headers=headers)

    def metrics(self) -> str:
        """All that Prometheus is told."""
        return self._measured.exposition().decode()

    def metric(self, name: str) -> float:
        """One series."""
        for line in self.metrics().splitlines():
            if line.startswith(f"{name} "):
                return float(line.rpartition(" ")[2])
        raise AssertionError(name)

    async def count(self, name: str, expected: float) -> None:
        """Wait until a series has this value."""
        async with asyncio.timeout(60):
            while self.metric(name) != expected:
                await asyncio.sleep(0.01)

    async def ended(self, outcome: str, expected: float = 1) -> None:
        """Wait until as many downloads have ended so, and no other is under way."""
        await self.count(f'backupexport_downloads_total{{outcome="{outcome}"}}', expected)
        await self.count("backupexport_downloads_under_way", 0)

    async def begin(
        self, url: str | None = None, held_bytes: int = 64 * 1024
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A download whose client has read the headers, and reads no more by itself."""
        reader, writer = await self.connect(held_bytes)
        self.ask(writer, url or self.exported.url)
        head = await reader.readuntil(b"\r\n")
        assert b" 200 " in head
        while await reader.readuntil(b"\r\n") != b"\r\n":
            pass
        return reader, writer

    async def connect(
        self, held_bytes: int = 64 * 1024
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection of which little is held on the client's side."""
        plain = socket.socket()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, held_bytes)
        plain.setblocking(False)
        await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", self.port))
        reader, writer = await asyncio.open_connection(sock=plain, limit=1024)
        self._writers.append(writer)
        return reader, writer

    def ask(self, writer: asyncio.StreamWriter, url: str) -> None:
        """Send a request, and read nothing of its answer."""
        writer.write(
            f"GET {url} HTTP/1.1\r\nHost: api\r\n"
            f"Authorization: {self.headers['Authorization']}\r\n\r\n".encode()
        )

    def open_files(self) -> int:
        """How often the export's file is open in this process."""
        return times_open(self.exported.file)

    async def closed(self) -> None:
        """Wait until the export's file is not open any more; a file's own thread closes it."""
        async with asyncio.timeout(60):
            while self.open_files():
                await asyncio.sleep(0.01)


@pytest.fixture
def serve(
    store: Any,
    make_settings: Callable[..., Any],
    bearer: Callable[..., dict[str, str]],
    tmp_path: Path,
) -> Callable[..., Any]:
    exported = export(tmp_path, os.urandom(1024 * 1024) * (SIZE // 1024 // 1024))
    store.put(exported.manifest, **exported.status)

    @asynccontextmanager
    async def run(graceful_seconds: int = 1, **environment: str) -> AsyncIterator[Served]:
        settings = make_settings(EXPORTS_DIRECTORY=str(tmp_path), **environment)
        measured = Metrics()
        config = uvicorn.Config(
            create_app(settings, store, measured),
            host="127.0.0.1",
            port=0,
            http=HttpProtocol,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=graceful_seconds,
        )
        server = DrainingServer(config, 0.3)
        task = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.005)
        try:
            served = Served(server, measured, exported, bearer())
            yield served
        finally:
            await served.close()
            server.should_exit = True
            await task

    return run


async def test_the_bytes_are_the_file_s(serve: Callable[..., Any]) -> None:
    async with serve() as api:
        answer = await api.get()
        assert answer.content == api.exported.content
        part = await api.get(Range=f"bytes=1234567-{SIZE - 3}")
        assert part.content == api.exported.content[1234567:-2]
        await api.ended("complete", 2)
        assert api.metric("backupexport_download_sent_bytes_total") == SIZE + len(part.content)


async def test_a_client_that_vanishes_frees_all_it_had(serve: Callable[..., Any]) -> None:
    async with serve() as api:
        held = [await api.begin() for _ in range(5)]
        assert api.metric("backupexport_downloads_under_way") == 5
        assert api.open_files() == 5
        for _, writer in held:
            writer.transport.abort()
        await api.ended("vanished", 5)
        await api.closed()


async def test_a_client_that_takes_nothing_is_cut_off(
    serve: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    async with serve(DOWNLOAD_STALL_SECONDS="1") as api:
        reader, _ = await api.begin()
        await api.ended("stalled")
        await api.closed()
        # It is not merely forgotten: the connection is gone.
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(SIZE)
        await api.get("/healthz")
        async with asyncio.timeout(60):
            while len(api.server.server_state.connections) > 1:
                await asyncio.sleep(0.01)
    assert "ASGI" not in caplog.text


async def test_a_client_that_takes_little_is_not(serve: Callable[..., Any]) -> None:
    async with serve(DOWNLOAD_STALL_SECONDS="1") as api:
        reader, _ = await api.begin()
        read = bytearray()
        started = asyncio.get_running_loop().time()
        # Too little for the system to ask for more within the time, and for longer than that.
        while asyncio.get_running_loop().time() < started + 2.5:
            read += await reader.read(24 * 1024)
            await asyncio.sleep(0.05)
        while len(read) < SIZE:
            chunk = await reader.read(1024 * 1024)
            assert chunk
            read += chunk
        assert bytes(read) == api.exported.content
        await api.ended("complete")


async def test_a_client_that_takes_next_to_nothing_is_cut_off(
    serve: Callable[..., Any],
) -> None:
    async with serve(DOWNLOAD_STALL_SECONDS="1") as api:
        # So little that something is taken all the time.
        reader, _ = await api.begin(held_bytes=8192)
        read = 0

        async def trickle() -> None:
            nonlocal read
            while chunk := await reader.read(2048):
                read += len(chunk)
                await asyncio.sleep(0.04)

        trickling = asyncio.create_task(trickle())
        await api.ended("stalled")
        trickling.cancel()
        # It was no client that takes nothing at all.
        assert read > 8192
        await api.closed()


async def test_how_long_a_download_lasts_is_no_delay(serve: Callable[..., Any]) -> None:
    async with serve() as api:
        reader, _ = await api.begin()
        await asyncio.sleep(2.5)
        await reader.readexactly(SIZE)
        await api.ended("complete")
        name = "http_request_duration_seconds_sum"
        labels = '{method="GET",route="/api/jobs/{job_id}/download",status="200"}'
        # It is told of when the request has ended, which is a little later.
        async with asyncio.timeout(60):
            while name + labels not in api.metrics():
                await asyncio.sleep(0.01)
        assert 0 < api.metric(name + labels) < 2.2


async def test_twenty_slow_readers_take_little_memory(serve: Callable[..., Any]) -> None:
    async with serve() as api:
        await api.get(Range="bytes=0-9999999")
        await api.get("/healthz")
        before = _resident()
        held = [await api.begin() for _ in range(20)]
        assert api.metric("backupexport_downloads_under_way") == 20
        # A piece that is sent and one that is to be, and what allocators do.
        assert _resident() - before < 20 * 1024 * 1024
        connections: Any = api.server.server_state.connections
        waiting = [one.transport.get_write_buffer_size() for one in connections]
        assert max(waiting) <= CHUNK_BYTES
        for _, writer in held:
            writer.transport.abort()
        await api.ended("vanished", 20)


def _resident() -> int:
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * resource.getpagesize()


async def test_others_have_their_turn_while_a_client_reads_fast() -> None:
    """As fast as we send: neither reading nor sending ever waits."""
    turns, pieces = 0, 50

    class Memory(ExportFile):
        def __init__(self) -> None:
            pass

        async def read(self, start: int, count: int) -> bytes:
            del start
            return bytes(count)

        def close(self) -> None:
            pass

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def send(_: Any) -> None:
        pass

    async def receive() -> Any:
        raise AssertionError

    answer = DownloadAnswer(200, {}, (ByteRange(0, pieces * CHUNK_BYTES),))
    counting = asyncio.create_task(count_turns())
    response = DownloadResponse(answer, Memory(), 60, on_sent=lambda _: None, on_end=lambda _: None)
    await response({"type": "http"}, receive, send)
    counting.cancel()
    assert turns >= pieces


async def test_a_caller_has_a_share_of_the_places(
    serve: Callable[..., Any], bearer: Callable[..., dict[str, str]]
) -> None:
    async with serve(MOST_DOWNLOADS="3", MOST_DOWNLOADS_EACH="2") as api:
        held = [await api.begin() for _ in range(2)]
        mine = await api.get()
        assert (mine.status_code, mine.json()["code"]) == (429, "too_many_downloads")
        assert int(mine.headers["retry-after"]) > 0
        # Looking costs no place.
        api.headers = bearer(sub="bob")
        held.append(await api.begin())
        others = await api.get(**bearer(sub="carol"))
        assert (others.status_code, others.json()["code"]) == (503, "too_many_downloads")
        for _, writer in held:
            writer.transport.abort()
        await api.ended("vanished", 3)
        assert (await api.get()).status_code == 200
        await api.closed()


async def test_all_links_of_a_job_have_one_share(
    serve: Callable[..., Any], bearer: Callable[..., dict[str, str]]
) -> None:
    async with serve(MOST_DOWNLOADS_EACH="1", LINK_SECRET="of-links-" + "x" * 32) as api:
        links = []
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{api.port}") as client:
            for seconds in (60, 120):
                made = await client.post(
                    api.exported.link_url, headers=bearer(), json={"lifetime_seconds": seconds}
                )
                links.append(made.json()["data"]["url"])
            await api.begin(links[0])
            another = await client.get(links[1])
        assert (another.status_code, another.json()["code"]) == (429, "too_many_downloads")
        # Whoever has the link has none under way.
        assert another.json()["detail"].startswith("1 such downloads are under way already")
        # Whoever has a token has a share as well.
        await api.begin()


async def test_links_to_all_files_of_a_project_have_one_share(
    serve: Callable[..., Any],
    store: Any,
    bearer: Callable[..., dict[str, str]],
    tmp_path: Path,
) -> None:
    environment = {"MOST_DOWNLOADS": "5", "MOST_DOWNLOADS_EACH": "2"}
    async with serve(LINK_SECRET="of-links-" + "x" * 32, **environment) as api:

        async def link_to(project_id: str) -> str:
            content = api.exported.content
            made = export(tmp_path, content, job_id=another_id(), projectId=project_id)
            store.put(made.manifest, **made.status)
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{api.port}") as client:
                answer = await client.post(made.link_url, headers=bearer())
            url: str = answer.json()["data"]["url"]
            return url

        async def refusal(url: str) -> tuple[int, str]:
            answer = await api.get(url)
            return answer.status_code, answer.json()["code"]

        for _ in range(2):
            await api.begin(await link_to("proj-123"))
        assert await refusal(await link_to("proj-123")) == (429, "too_many_downloads")
        await api.begin(await link_to("other"))
        # What is left is for those who have a token.
        assert await refusal(await link_to("other")) == (503, "too_many_downloads")
        api.headers = bearer(sub="bob")
        for _ in range(2):
            await api.begin()


async def test_a_client_that_has_not_read_the_answer_before_is_cut_off(
    serve: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    async with serve(DOWNLOAD_STALL_SECONDS="3") as api:
        _, writer = await api.connect()
        async with asyncio.timeout(60):
            while not api.server.server_state.connections:
                await asyncio.sleep(0.01)
        (connection,) = api.server.server_state.connections
        connection.transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_SNDBUF, 4096
        )
        connection.transport.set_write_buffer_limits(1024 * 1024)
        async with asyncio.timeout(60):
            while not connection.transport.get_write_buffer_size():
                api.ask(writer, "/openapi.json")
                await asyncio.sleep(0.01)
        api.ask(writer, api.exported.url)
        await api.count("backupexport_downloads_under_way", 1)
        await api.ended("stalled")
        await api.closed()
    assert "ASGI" not in caplog.text


async def test_a_volume_that_hangs_holds_up_nobody(
    serve: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    comes_back = threading.Event()
    true_open = files.open_file
    entered = threading.Semaphore(0)

    def hanging(*arguments: Any) -> int:
        entered.release()
        comes_back.wait()
        return true_open(*arguments)

    monkeypatch.setattr(files, "open_file", hanging)
    monkeypatch.setattr(volume, "_OPEN_SECONDS", 2.0)
    caplog.set_level("WARNING")
    async with serve() as api:
        # More than there are threads.
        answers = asyncio.gather(*(api.get() for _ in range(12)))
        await asyncio.to_thread(entered.acquire)
        assert (await api.get("/healthz")).status_code == 200
        assert (await api.get(f"/api/jobs/{api.exported.job_id}")).status_code == 200
        assert not answers.done()
        for answer in await answers:
            assert (answer.status_code, answer.json()["code"]) == (503, "volume_unavailable")
            assert int(answer.headers["retry-after"]) > 0
        assert "the volume does not answer: no answer in time" in caplog.text
        comes_back.set()
        # What was opened for nobody is closed again.
        await api.closed()
        assert (await api.get()).status_code == 200


async def test_a_volume_that_hangs_in_the_middle(
    serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    comes_back = threading.Event()

    def not_in_memory(*_: Any) -> int:
        raise BlockingIOError

    def hanging(number: int, count: int, start: int) -> bytes:
        if start > 0:
            comes_back.wait()
        return bytes(min(count, SIZE - start))

    monkeypatch.setattr(os, "preadv", not_in_memory)
    monkeypatch.setattr(os, "pread", hanging)
    monkeypatch.setattr(volume, "_READ_SECONDS", 0.2)
    async with serve() as api:
        with pytest.raises(httpx.RemoteProtocolError):
            await api.get()
        await api.ended("failed")
        # Its number must not become another file's while a read is under way.
        assert api.open_files() == 1
        comes_back.set()
        await api.closed()


@pytest.mark.parametrize("in_memory", [True, False])
async def test_a_file_that_becomes_shorter_is_no_whole_answer(
    serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, in_memory: bool
) -> None:
    if not in_memory:

        def not_in_memory(*_: Any) -> int:
            raise BlockingIOError

        monkeypatch.setattr(os, "preadv", not_in_memory)
    async with serve() as api:
        reader, _ = await api.begin()
        os.truncate(api.exported.file, 1024 * 1024)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(SIZE)
        await api.ended("failed")


async def test_a_drain_lets_a_download_end(serve: Callable[..., Any]) -> None:
    async with serve(graceful_seconds=60) as api:
        reader, _ = await api.begin()
        api.server.handle_exit(signal.SIGTERM, None)
        assert len(await reader.readexactly(SIZE)) == SIZE
        await api.ended("complete")


async def test_a_shutdown_interrupts_a_download_when_its_time_is_over(
    serve: Callable[..., Any],
) -> None:
    async with serve() as api:
        reader, _ = await api.begin()
        api.server.should_exit = True
        await api.ended("interrupted")
        # What it lacks is seen to be lacking.
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(SIZE)
        await api.closed()
