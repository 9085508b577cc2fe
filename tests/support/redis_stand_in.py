"""A server on loopback that answers as the rate limit's storage would, or doesn't."""

import contextlib
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class _Handler(socketserver.StreamRequestHandler):
    server: "_Server"

    def handle(self) -> None:
        self.server.connections.append(self.connection)
        with contextlib.suppress(OSError, ValueError):
            while words := self._command():
                self.server.commands.append(words[0])
                if words[0] == self.server.hangs_at:
                    self.server.stopped.wait()
                    return
                self.wfile.write(self._answer(words))

    def _command(self) -> list[str]:
        """The words of a command: an array of strings, each behind its length."""
        header = self.rfile.readline()
        words = []
        for _ in range(int(header[1:] or 0)):
            length = int(self.rfile.readline()[1:])
            words.append(self.rfile.read(length + 2)[:-2].decode())
        return words

    def _answer(self, words: list[str]) -> bytes:
        if words[0] != "EVALSHA":
            return b"+OK\r\n"
        if len(words) == 8:
            self.server.counted += 1
            return b":1\r\n"
        oldest = str(time.time()).encode()
        return b"*2\r\n$%d\r\n%s\r\n:%d\r\n" % (len(oldest), oldest, self.server.counted)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, port: int, *, hangs_at: str) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.hangs_at = hangs_at
        self.counted = 0
        self.commands: list[str] = []
        self.connections: list[socket.socket] = []
        self.stopped = threading.Event()


class RedisStandIn:
    """`port` is the same for its whole life, whether something listens there or not."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]

    @property
    def url(self) -> str:
        return f"redis://api:a-password@127.0.0.1:{self.port}"

    @contextmanager
    def listening(self, *, hangs_at: str = "") -> Iterator[_Server]:
        """Answers, or hangs at a command; the end of the context closes every connection."""
        with _Server(self.port, hangs_at=hangs_at) as server:
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
            try:
                yield server
            finally:
                server.stopped.set()
                server.shutdown()
                for connection in server.connections:
                    with contextlib.suppress(OSError):
                        connection.shutdown(socket.SHUT_RDWR)
