"""The connection that a request came by, for those who send much or for long.

ASGI has no word for cutting a connection, nor for how much of an answer still waits to be sent.
"""

import asyncio
import fcntl
import socket
import sys
import termios
from contextlib import suppress
from typing import Any, Protocol

from starlette.types import Scope
from uvicorn.protocols.http.h11_impl import H11Protocol

_TRANSPORT = "transport"
# What the system keeps of a stream that its client doesn't read; it takes the double of this.
_SEND_BUFFER_BYTES = 8192


class ClientTransport(Protocol):
    """The part of asyncio's transports that is of use."""

    def is_closing(self) -> bool:
        """Whether the client has gone, or we have."""

    def get_write_buffer_size(self) -> int:
        """How many bytes the system has not yet taken."""

    def set_write_buffer_limits(self, high: int) -> None:
        """More than `high` such bytes are waited for."""

    def get_extra_info(self, name: str) -> Any:
        """Its socket, among others."""

    def abort(self) -> None:
        """Close it now; what waits to be sent is dropped."""


def transport_of(scope: Scope) -> ClientTransport | None:
    """The transport, where the server tells of it."""
    found: ClientTransport | None = scope.get("state", {}).get(_TRANSPORT)
    return found


def untaken_bytes(transport: ClientTransport) -> int:
    """How many bytes of what was sent the client has not yet taken."""
    try:
        # What the system still holds: it says that there is room again only once there is much.
        held = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
    except (OSError, ValueError):
        # The connection has just ended; a closed socket's number is -1, which is no number at all.
        return 0
    return transport.get_write_buffer_size() + int.from_bytes(held, sys.byteorder)


def hold_little(transport: ClientTransport) -> None:
    """From now on keep next to nothing that the client doesn't read: sending waits instead."""
    transport.set_write_buffer_limits(high=0)
    opened: socket.socket = transport.get_extra_info("socket")
    # The client may just have gone.
    with suppress(OSError):
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)


async def cut(transport: ClientTransport) -> None:
    """End the connection at once, with all that it holds."""
    # Closing would first wait for the client to take what is left.
    transport.abort()
    # uvicorn takes an answer that is not whole for a mistake of ours, until it has heard that the
    # connection has ended.
    await asyncio.sleep(0)


class HttpProtocol(H11Protocol):
    """uvicorn's, which tells each request of its transport."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection; called by asyncio."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, _TRANSPORT: transport}
