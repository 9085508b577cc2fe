"""On SIGTERM the server serves on, closes connections, and finishes what it has begun."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import pytest
import uvicorn
from backupexport_api.http.draining import DrainingServer
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route


class Running:
    """A server and a client; a request for /slow is answered when `go_on` is set."""

    def __init__(self, drain_seconds: float) -> None:
        self.entered, self.go_on = asyncio.Event(), asyncio.Event()
        app = Starlette(routes=[Route("/", self._quick), Route("/slow", self._slow)])
        config = uvicorn.Config(
            app, host="127.0.0.1", port=0, log_config=None, timeout_graceful_shutdown=5
        )
        self.server = DrainingServer(config, drain_seconds)

    async def _quick(self, _: Request) -> PlainTextResponse:
        return PlainTextResponse("here")

    async def _slow(self, _: Request) -> PlainTextResponse:
        self.entered.set()
        await self.go_on.wait()
        return PlainTextResponse("late")


@asynccontextmanager
async def running(drain_seconds: float) -> AsyncIterator[tuple[Running, httpx.AsyncClient]]:
    it = Running(drain_seconds)
    task = asyncio.create_task(it.server.serve())
    await until(lambda: it.server.started)
    port = it.server.servers[0].sockets[0].getsockname()[1]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        try:
            yield it, client
        finally:
            it.go_on.set()
            it.server.should_exit = True
            await task


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.005)


async def closes(client: httpx.AsyncClient) -> bool:
    """Whether an answer tells its client to connect anew."""
    answer = await client.get("/")
    assert answer.text == "here"
    return bool(answer.headers.get("connection") == "close")


async def test_it_serves_on_and_closes_connections_then_ends() -> None:
    # Long enough for two answers on a machine that is busy.
    async with running(3) as (it, client):
        assert not await closes(client)
        it.server.handle_exit(signal.SIGTERM, None)
        async with asyncio.timeout(60):
            while not await closes(client):
                await asyncio.sleep(0.005)
        assert not it.server.should_exit
        # On a new connection, too.
        assert await closes(client)
        await until(lambda: it.server.should_exit)
        await until(lambda: not it.server.servers[0].is_serving())
        with pytest.raises(httpx.ConnectError):
            await client.get("/")


async def test_what_has_begun_is_finished() -> None:
    async with running(0) as (it, client):
        answer = asyncio.create_task(client.get("/slow"))
        await it.entered.wait()
        it.server.handle_exit(signal.SIGTERM, None)
        await until(lambda: it.server.should_exit)
        # Listening has ended, this request has not.
        await until(lambda: not it.server.servers[0].is_serving())
        it.go_on.set()
        assert (await answer).text == "late"


async def test_ctrl_c_doesn_t_drain() -> None:
    async with running(60) as (it, _):
        it.server.handle_exit(signal.SIGINT, None)
        assert it.server.should_exit
        it.server._captured_signals.clear()


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_waits_for_nothing(first: int, second: int) -> None:
    async with running(60) as (it, _):
        it.server.handle_exit(first, None)
        with pytest.raises(SystemExit):
            it.server.handle_exit(second, None)
        it.server._captured_signals.clear()


async def test_before_it_serves_there_is_nothing_to_drain() -> None:
    server = Running(60).server
    server.handle_exit(signal.SIGTERM, None)
    assert server.should_exit
