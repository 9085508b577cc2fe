"""A load generator that asks little of the machine: prepared requests on a few connections.

Each connection sends its next request as soon as it has its answer (a closed loop), and keeps
its socket.  An answer is read no further than its status and its length.
"""

import asyncio
import gc
import itertools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import jwt

_END_OF_HEAD = b"\r\n\r\n"
_LENGTH = b"content-length:"
_TOKEN_SECONDS = 3600


class UnexpectedAnswerError(RuntimeError):
    """An answer that makes the measurement worthless."""


@dataclass
class Load:
    """What one run of the generator saw."""

    began: float = 0.0
    ended: float = 0.0
    latencies: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Answers per second."""
        return len(self.latencies) / (self.ended - self.began)


def request(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """An HTTP/1.1 request as it goes over the wire."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + _END_OF_HEAD + body


class Callers:
    """Subjects with a token each, who take turns."""

    def __init__(self, secret: str, count: int) -> None:
        now = int(time.time())
        self._headers = [
            {
                "Authorization": "Bearer "
                + jwt.encode(
                    {
                        "sub": f"caller-{number}@example.com",
                        "projects": ["*"],
                        "iat": now,
                        "exp": now + _TOKEN_SECONDS,
                    },
                    secret,
                    algorithm="HS256",
                )
            }
            for number in range(count)
        ]
        self._turns = itertools.cycle(self._headers)

    def next_headers(self) -> dict[str, str]:
        """The headers of whose turn it is."""
        return next(self._turns)

    def gets(self, paths: Sequence[str]) -> list[bytes]:
        """GETs of `paths`, over and over until each caller has sent one."""
        count = max(len(paths), len(self._headers))
        return [
            request("GET", path, self.next_headers())
            for path in itertools.islice(itertools.cycle(paths), count)
        ]

    def posts(self, projects: Sequence[str]) -> Iterator[bytes]:
        """Requests for exports, without an end."""
        for project in itertools.cycle(projects):
            body = json.dumps({"project_id": project, "format": "sql", "compress": True})
            headers = self.next_headers() | {"Content-Type": "application/json"}
            yield request("POST", "/api/backup/export", headers, body.encode())


def generate(
    port: int,
    requests: Iterator[bytes],
    *,
    connections: int,
    status: int,
    seconds: float = float("inf"),
) -> Load:
    """Send `requests` until they or `seconds` are over; every answer must have `status`."""
    load = Load()
    # A collection in the generator would look like a slow answer.
    gc.collect()
    gc.disable()
    try:
        asyncio.run(_generate(load, port, requests, connections, status, seconds))
    finally:
        gc.enable()
    return load


async def _generate(
    load: Load,
    port: int,
    requests: Iterator[bytes],
    connections: int,
    status: int,
    seconds: float,
) -> None:
    loop = asyncio.get_running_loop()
    opened = [
        (await loop.create_connection(lambda: _Connection(load, status), "127.0.0.1", port))[1]
        for _ in range(connections)
    ]
    load.began = time.perf_counter()
    deadline = load.began + seconds

    def following() -> bytes | None:
        return None if time.perf_counter() > deadline else next(requests, None)

    try:
        await asyncio.gather(*(connection.converse(following) for connection in opened))
    finally:
        load.ended = time.perf_counter()
        for connection in opened:
            connection.close()


class _Connection(asyncio.Protocol):
    """One connection, with at most one request under way."""

    def __init__(self, load: Load, status: int) -> None:
        self._load = load
        self._status_line = f"HTTP/1.1 {status} ".encode()
        self._finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._following: Callable[[], bytes | None] = lambda: None
        self._buffer = b""
        self._sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def converse(self, following: Callable[[], bytes | None]) -> "asyncio.Future[None]":
        """Send what `following` gives, one after the other, until it gives None."""
        self._following = following
        self._send()
        return self._finished

    def close(self) -> None:
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        end = self._buffer.find(_END_OF_HEAD)
        if end < 0:
            return
        head = self._buffer[:end]
        if not head.startswith(self._status_line):
            self._fail(f"{self._buffer[:2000]!r} instead of {self._status_line!r}")
            return
        if len(self._buffer) < end + len(_END_OF_HEAD) + _length_of(head):
            return
        self._load.latencies.append(time.perf_counter() - self._sent)
        self._buffer = b""
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(f"the connection was closed: {exc}")

    def _send(self) -> None:
        data = self._following()
        if data is not None:
            self._sent = time.perf_counter()
            self._transport.write(data)
        elif not self._finished.done():
            self._finished.set_result(None)

    def _fail(self, why: str) -> None:
        if not self._finished.done():
            self._finished.set_exception(UnexpectedAnswerError(why))


def _length_of(head: bytes) -> int:
    lower = head.lower()
    start = lower.index(_LENGTH) + len(_LENGTH)
    return int(lower[start:].split(b"\r\n", 1)[0])
