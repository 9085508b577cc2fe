"""Listeners to a job's events, as a program for a pod: the standard library alone.

    event_listeners.py HOST PORT PATH COUNT SECONDS TOKEN...

It prints how each of them fared as JSON: the events with the time they came, the connections it
took, and how it ended.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Event:
    """As the specification names its parts."""

    id: str = ""
    type: str = "message"
    data: str = ""


@dataclass
class Parser:
    """Reads a stream as the specification says, for `\\n` alone as the end of a line."""

    last_event_id: str = ""
    retry_milliseconds: int | None = None
    comments: int = 0
    _rest: str = ""
    _id: str = ""
    _type: str = ""
    _data: list[str] = field(default_factory=list)

    def feed(self, text: str) -> Iterator[Event]:
        """Take what has come; the events that it completes."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            if line:
                self._take(line)
                continue
            self.last_event_id = self._id
            if self._data:
                yield Event(self.last_event_id, self._type or "message", "\n".join(self._data))
            self._type, self._data = "", []

    def cut(self) -> None:
        """Forget an event that has come in part."""
        self._rest, self._id, self._type, self._data = "", self.last_event_id, "", []

    def _take(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "":
            self.comments += 1
        elif name == "id":
            self._id = value
        elif name == "event":
            self._type = value
        elif name == "data":
            self._data.append(value)
        elif name == "retry":
            self.retry_milliseconds = int(value)


@dataclass
class Listener:
    """One client that comes back until it is told that there is no more."""

    host: str
    port: int
    path: str
    token: str
    seen: list[tuple[float, str, str]] = field(default_factory=list)
    """When, the event's id, and the job's status."""
    connections: int = 0
    statuses: list[int] = field(default_factory=list)
    cuts: int = 0
    ended: bool = False

    async def listen(self) -> None:
        """As EventSource does: any 200 is followed by another try, 204 is the end."""
        parser = Parser()
        while not self.ended:
            try:
                await self._connect(parser)
            except (OSError, EOFError):
                self.cuts += 1
            if not self.ended:
                await asyncio.sleep((parser.retry_milliseconds or 1000) / 1000)

    async def _connect(self, parser: Parser) -> None:
        reader, writer = await asyncio.open_connection(self.host, self.port)
        self.connections += 1
        try:
            writer.write(self._request(parser.last_event_id))
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            status = int(head.split(" ", 2)[1])
            self.statuses.append(status)
            if status == 204:
                self.ended = True
                return
            if status != 200:
                return
            async for text in _chunks(reader):
                for event in parser.feed(text):
                    self._saw(event)
        finally:
            parser.cut()
            writer.close()

    def _request(self, last_event_id: str) -> bytes:
        lines = [
            f"GET {self.path} HTTP/1.1",
            f"Host: {self.host}",
            f"Authorization: Bearer {self.token}",
            *([f"Last-Event-ID: {last_event_id}"] if last_event_id else []),
        ]
        return "".join(f"{line}\r\n" for line in [*lines, ""]).encode()

    def _saw(self, event: Event) -> None:
        job: dict[str, Any] = json.loads(event.data)
        self.seen.append((time.time(), event.id, job.get("status", event.type)))


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[str]:
    while size := int(await reader.readline() or b"bad", 16):
        yield (await reader.readexactly(size + 2))[:-2].decode()


async def listen(listeners: list[Listener], seconds: float) -> None:
    """Have them listen for `seconds` at most."""
    tasks = [asyncio.create_task(listener.listen()) for listener in listeners]
    await asyncio.wait(tasks, timeout=seconds)
    for task in tasks:
        task.cancel()
    # What one of them has stumbled over is told, not lost.
    for failure in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(failure, Exception):
            raise failure


def main() -> None:
    """Listen, then tell."""
    host, port, path, count, seconds, *tokens = sys.argv[1:]
    listeners = [
        Listener(host, int(port), path, tokens[number % len(tokens)])
        for number in range(int(count))
    ]
    asyncio.run(listen(listeners, float(seconds)))
    fared = [{**asdict(listener), "token": ""} for listener in listeners]
    sys.stdout.write(json.dumps(fared))


if __name__ == "__main__":
    main()
