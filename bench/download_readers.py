"""Readers of downloads that cost next to nothing, and slow ones."""

import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass

import load_client

_PIECE = 1 << 20
_END_OF_HEAD = b"\r\n\r\n"


class UnexpectedDownloadError(RuntimeError):
    """A download that makes the measurement worthless."""


@dataclass(frozen=True)
class Download:
    """One whole download: its bytes, and its seconds."""

    size: int
    seconds: float


@dataclass(frozen=True)
class Source:
    """A server's file."""

    port: int
    path: str
    headers: Mapping[str, str]
    size: int

    def connect(self) -> tuple[socket.socket, int]:
        """Ask for the file; a socket, and how much of the body has come with the head."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        connection.sendall(
            load_client.request("GET", self.path, {**self.headers, "Connection": "close"})
        )
        head = b""
        while _END_OF_HEAD not in head:
            piece = connection.recv(4096)
            if not piece:
                raise UnexpectedDownloadError(f"an answer without an end of its head: {head!r}")
            head += piece
        start, _, body = head.partition(_END_OF_HEAD)
        length = f"content-length: {self.size}".encode()
        if not start.startswith(b"HTTP/1.1 200 ") or length not in start.lower():
            raise UnexpectedDownloadError(f"{head[:2000]!r}")
        return connection, len(body)


def discard(source: Source) -> Download:
    """Read a file without looking at it: the kernel drops what has come, and copies nothing."""
    buffer = bytearray(_PIECE)
    began = time.perf_counter()
    connection, size = source.connect()
    with connection:
        while read := connection.recv_into(buffer, _PIECE, socket.MSG_TRUNC):
            size += read
    return _whole(source, size, time.perf_counter() - began)


def curl(source: Source) -> Download:
    """Read a file as a user does."""
    command = ["curl", "--silent", "--show-error", "--fail", "--output", "/dev/null"]
    command += ["--write-out", "%{size_download} %{time_total}", "--config", "-"]
    command += [f"http://127.0.0.1:{source.port}{source.path}"]
    # The token on standard input, which no other user of the machine sees.
    headers = "".join(f'header = "{name}: {value}"\n' for name, value in source.headers.items())
    done = subprocess.run(command, input=headers, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise UnexpectedDownloadError(done.stderr)
    size, seconds = done.stdout.split()
    return _whole(source, int(size), float(seconds))


class SlowReader:
    """A client that takes a little now and then."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._connection, self.received = source.connect()

    def take(self, count: int) -> None:
        """Read up to so many bytes, as many as have come."""
        read = len(self._connection.recv(count))
        if read == 0:
            raise UnexpectedDownloadError("a slow download was cut off")
        self.received += read

    @property
    def is_in_the_middle(self) -> bool:
        """Whether much has come and much has not."""
        return 0 < self.received < self._source.size // 2

    def close(self) -> None:
        """Go away."""
        self._connection.close()


def _whole(source: Source, size: int, seconds: float) -> Download:
    if size != source.size:
        raise UnexpectedDownloadError(f"{size} bytes of {source.size} came")
    return Download(size, seconds)
