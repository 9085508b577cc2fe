"""A proxy of plain HTTP on loopback in front of the API server, which notes each request."""

import asyncio
import contextlib
import ssl
import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit

_END_OF_HEAD = b"\r\n\r\n"
_CHUNK = 65536
_READS = ("GET", "HEAD")


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it went through."""

    method: str
    target: str
    body: bytes = b""

    @property
    def is_watch(self) -> bool:
        """Whether it is a watch: one serves all exports."""
        watch = parse_qs(urlsplit(self.target).query).get("watch", [""])
        return watch[0].lower() in ("1", "true")

    @property
    def is_write(self) -> bool:
        """Whether it may change anything."""
        return self.method not in _READS

    @property
    def call(self) -> str:
        """Method and resource, such as `PATCH backupexports/status`."""
        parts = urlsplit(self.target).path.strip("/").split("/")
        if "namespaces" in parts:
            parts = parts[parts.index("namespaces") + 2 :]
        else:
            return f"{self.method} /{'/'.join(parts)}"
        resource, *rest = parts
        return f"{self.method} {'/'.join([resource, *rest[1:]])}"

    def is_for(self, resource: str) -> bool:
        """Whether it is for objects of that resource."""
        return f"/{resource}" in urlsplit(self.target).path

    def names(self, text: str) -> bool:
        """Whether `text` is anywhere in it."""
        return text in self.target or text.encode() in self.body


def read_head(head: bytes) -> tuple[str, str, int]:
    """Method, target, and the length of the body that follows."""
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (s.partition(":") for s in lines)}
    if "transfer-encoding" in headers:
        raise ValueError(f"{method} {target}: a body without a length")
    return method, target, int(headers.get("content-length", 0))


def calls(requests: Iterable[Request]) -> Counter[str]:
    """How many requests of each kind there are, watches left out."""
    return Counter(request.call for request in requests if not request.is_watch)


class CountingProxy(threading.Thread):
    """Runs in a thread of its own for as long as the context lasts."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext | None) -> None:
        super().__init__(daemon=True)
        self._far = host, port
        self._context = context
        self._ready = threading.Event()
        self.port = 0
        self.requests: list[Request] = []

    def __enter__(self) -> Self:
        self.start()
        if not self._ready.wait(10):
            raise TimeoutError("the proxy has not started")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self.join(10)

    def run(self) -> None:
        """The thread's work."""
        asyncio.run(self._serve())

    def instead(self, _: Request) -> bytes | None:
        """The answer to a request that the API server doesn't get; None where it is to answer."""
        return None

    async def _serve(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._forward, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        async with server:
            await self._over.wait()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._pass_on(reader, writer)
        finally:
            writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(*self._far, ssl=self._context)
        back = asyncio.create_task(_copy(far_reader, writer))
        try:
            while True:
                head = await reader.readuntil(_END_OF_HEAD)
                method, target, length = read_head(head)
                request = Request(method, target, await reader.readexactly(length))
                self.requests.append(request)
                if (answer := self.instead(request)) is not None:
                    writer.write(answer)
                    await writer.drain()
                    continue
                far_writer.write(head + request.body)
                await far_writer.drain()
        finally:
            back.cancel()
            far_writer.close()


def address_of(server: str) -> tuple[str, int]:
    """Host and port of the API server at `server`."""
    url = urlsplit(server)
    if url.hostname is None:
        raise ValueError(f"{server} names no host")
    return url.hostname, url.port or 443


def proxy_of(server: str, context: ssl.SSLContext) -> CountingProxy:
    """A proxy in front of the API server at `server`."""
    return CountingProxy(*address_of(server), context)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
    writer.close()
