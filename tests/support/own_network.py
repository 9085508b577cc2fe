"""A network for a program of this machine alone, in which one address of 127.0.0.1 is reached.

Chromium takes each address that comes to the machine or leaves it, as pods' do, for a change of
networks, and cuts its requests.  In there, nothing comes and nothing leaves.
"""

import contextlib
import ctypes
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Thread
from urllib.parse import urlsplit

_LIBC = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000
# With nothing but a loopback a browser takes itself for offline.
_LINKS = """
ip link set lo up
ip link add outside type veth peer name inside
ip link set outside addrgenmode none up
ip link set inside addrgenmode none up
ip address add 192.0.2.1/24 dev inside
"""
_PIECE_BYTES = 64 * 1024


@dataclass(frozen=True)
class OwnNetwork:
    """The network, and the machine's."""

    _inside: int
    _outside: int

    @contextmanager
    def entered(self) -> Iterator[None]:
        """What this thread starts now is in there for good."""
        _change(_LIBC.setns(self._inside, _CLONE_NEWNET))
        try:
            yield
        finally:
            _change(_LIBC.setns(self._outside, _CLONE_NEWNET))


def is_possible() -> bool:
    """Whether this process may make one."""
    return os.geteuid() == 0


@contextmanager
def own_network(url: str) -> Iterator[OwnNetwork]:
    """A network in which `url`, of a port of 127.0.0.1, leads to the machine's own."""
    parts = urlsplit(url)
    address = (str(parts.hostname), int(parts.port or 80))
    with contextlib.ExitStack() as stack:
        outside = _this_network(stack)
        _change(_LIBC.unshare(_CLONE_NEWNET))
        try:
            inside = _this_network(stack)
            subprocess.run(["sh", "-e", "-c", _LINKS], check=True)
            listener = stack.enter_context(socket.create_server(address))
        finally:
            _change(_LIBC.setns(outside, _CLONE_NEWNET))
        serving = Thread(target=_serve, args=(listener, address), daemon=True)
        serving.start()
        try:
            yield OwnNetwork(inside, outside)
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            serving.join()


def _this_network(stack: contextlib.ExitStack) -> int:
    descriptor = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    stack.callback(os.close, descriptor)
    return descriptor


def _change(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _serve(listener: socket.socket, address: tuple[str, int]) -> None:
    """Lead each connection on, until the listener is shut."""
    with contextlib.suppress(OSError):
        while True:
            near, _ = listener.accept()
            Thread(target=_lead, args=(near, address), daemon=True).start()


def _lead(near: socket.socket, address: tuple[str, int]) -> None:
    with near, contextlib.suppress(OSError), socket.create_connection(address) as far:
        back = Thread(target=_copy, args=(far, near), daemon=True)
        back.start()
        _copy(near, far)
        back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    """All bytes, and then the end, of both directions: browsers close no half of a connection."""
    with contextlib.suppress(OSError):
        while piece := source.recv(_PIECE_BYTES):
            target.sendall(piece)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
