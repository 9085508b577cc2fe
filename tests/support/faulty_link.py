"""A link between a client and an HTTP server that does what it likes to the files on their way.

What else goes over it, such as the states of jobs, is left alone.
"""

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

_CHUNK = 16 * 1024
_OF_A_FILE = b"/download"
_END_OF_HEADERS = b"\r\n\r\n"
_KEPT = 64 * 1024


class FaultyLink:
    """Forwards connections to `target`; counts and damages the bytes of files."""

    def __init__(self, target: str) -> None:
        """`target` is the server's URL, which can be changed: new connections go to the new one."""
        self.target = target
        self.passed = 0
        """How many bytes of files have gone through."""
        self.is_held = threading.Event()
        """Set once `hold_after` was reached."""
        self._hold_after: int | None = None
        self._flip_at: int | None = None
        self._go_on = threading.Event()
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def hold_after(self, count: int | None) -> None:
        """Let no more than so many bytes of files through, from now on; None lets all through."""
        with self._lock:
            self.passed = 0
            self._hold_after = count
            self.is_held.clear()
            if count is None:
                self._go_on.set()
            else:
                self._go_on.clear()

    def flip_at(self, count: int) -> None:
        """Change one byte of the files, the one after so many from now on."""
        with self._lock:
            self.passed = 0
            self._flip_at = count

    def cut(self) -> None:
        """End all connections."""
        for end in list(self._connections):
            _close(end)

    def close(self) -> None:
        """Take no more connections, and end those that there are."""
        _close(self._listener)
        self.cut()
        self.hold_after(None)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                threading.Thread(target=self._forward, args=(near,), daemon=True).start()

    def _forward(self, near: socket.socket) -> None:
        parts = urlsplit(self.target)
        where = (parts.hostname or "", parts.port or 80)
        with contextlib.suppress(OSError), near, socket.create_connection(where) as far:
            self._connections |= {near, far}
            asked = _Asked()
            back = threading.Thread(target=self._answers, args=(far, near, asked), daemon=True)
            back.start()
            try:
                while data := near.recv(_CHUNK):
                    asked.see(data)
                    far.sendall(data)
            finally:
                _close(far)
                back.join()
                self._connections -= {near, far}

    def _answers(self, far: socket.socket, near: socket.socket, asked: "_Asked") -> None:
        with contextlib.suppress(OSError):
            while data := far.recv(_CHUNK):
                head = asked.headers_in(data)
                near.sendall(data[:head])
                body = data[head:]
                while body:
                    body = (
                        body[self._send(near, body) :] if asked.is_file else self._all(near, body)
                    )
        _close(near)

    def _all(self, near: socket.socket, body: bytes) -> bytes:
        near.sendall(body)
        return b""

    def _send(self, near: socket.socket, body: bytes) -> int:
        """Send some bytes of a file, as it is allowed; return how many."""
        with self._lock:
            room = len(body) if self._hold_after is None else self._hold_after - self.passed
            some = bytearray(body[: max(0, room)])
            flip = None if self._flip_at is None else self._flip_at - self.passed
            if flip is not None and 0 <= flip < len(some):
                some[flip] ^= 1
                self._flip_at = None
            self.passed += len(some)
            if not some:
                self.is_held.set()
        if some:
            near.sendall(some)
            return len(some)
        self._go_on.wait()
        return 0


class _Asked:
    """What was asked for on one connection, as far as the link has to know."""

    def __init__(self) -> None:
        self.is_file = False
        self._in_headers = False
        self._tail = b""

    def see(self, data: bytes) -> None:
        """A request of the client's, which is one packet or has its path in the first."""
        line = data.partition(b"\r\n")[0]
        self.is_file = line.startswith(b"GET ") and _OF_A_FILE in line
        self._in_headers, self._tail = True, b""

    def headers_in(self, data: bytes) -> int:
        """How many of the answer's bytes are still its headers."""
        if not self._in_headers:
            return 0
        seen = self._tail + data
        end = seen.find(_END_OF_HEADERS)
        if end < 0:
            self._tail = seen[-_KEPT:]
            return len(data)
        self._in_headers = False
        return end + len(_END_OF_HEADERS) - len(self._tail)


@contextmanager
def faulty_link(target: str) -> Iterator[FaultyLink]:
    """A link that is closed at the end."""
    link = FaultyLink(target)
    try:
        yield link
    finally:
        link.close()


def _close(end: socket.socket) -> None:
    # Closing alone wakes nobody who waits for it.
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
