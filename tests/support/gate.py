"""A gate on loopback in front of a server: a test can shut it, or let nothing through it."""

import contextlib
import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_CHUNK = 65536


class Gate:
    """Forwards TCP connections to `target`.

    `shut` refuses new connections and breaks the old ones, as a stopped server does; `stall`
    keeps connections and takes new ones, but moves not a byte, as a hanging server does.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._open = threading.Event()
        self._open.set()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self.arrived = 0
        """How many connections have come, also while none is let through."""
        self._listener = self._listen(0)
        self.port: int = self._listener.getsockname()[1]

    def shut(self) -> None:
        """Refuse and break connections."""
        _close(self._listener)
        for pair in list(self._pairs):
            for end in pair:
                _close(end)

    def stall(self) -> None:
        """Hold every byte back."""
        self._open.clear()

    def open(self) -> None:
        """Let everything through again."""
        if self._listener.fileno() < 0:
            self._listener = self._listen(self.port)
        self._open.set()

    def _listen(self, port: int) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        return listener

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                self.arrived += 1
                threading.Thread(target=self._forward, args=(near,), daemon=True).start()

    def _forward(self, near: socket.socket) -> None:
        self._open.wait()
        with contextlib.suppress(OSError), near, socket.create_connection(self._target) as far:
            pair = (near, far)
            self._pairs.add(pair)
            try:
                self._pump(near, far)
            finally:
                self._pairs.discard(pair)

    def _pump(self, near: socket.socket, far: socket.socket) -> None:
        other = {near: far, far: near}
        with selectors.DefaultSelector() as selector:
            for end, opposite in other.items():
                selector.register(end, selectors.EVENT_READ, opposite)
            while True:
                for key, _ in selector.select():
                    self._open.wait()
                    data = key.fileobj.recv(_CHUNK)  # type: ignore[union-attr]
                    if not data:
                        return
                    key.data.sendall(data)


@contextmanager
def gate(target: tuple[str, int]) -> Iterator[Gate]:
    """A gate that is shut at the end."""
    made = Gate(target)
    try:
        yield made
    finally:
        made.open()
        made.shut()


def _close(end: socket.socket) -> None:
    # Closing alone wakes nobody who waits for it.
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
