"""asyncio's transport below a request: ASGI can't cut a connection, nor say what waits in it."""

import asyncio
import fcntl
import socket
import sys
import termios
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from starlette.responses import Response
from starlette.types import Message, Scope
from uvicorn.protocols.http.h11_impl import H11Protocol

_TRANSPORT = "transport"
_LINGER = "linger"
_IS_TAKEN_OVER = "transport_is_taken_over"
# How much of a stream the operating system buffers for its client; Linux doubles the value.
_SEND_BUFFER_BYTES = 8192


def start_message(response: Response) -> Message:
    """Return ASGI's first message of an answer that sends its body itself."""
    headers = response.raw_headers
    return {"type": "http.response.start", "status": response.status_code, "headers": headers}


def body_message(piece: bytes | bytearray, *, more: bool) -> Message:
    """Return ASGI's message with a piece of a body; `more` unless it is the last."""
    return {"type": "http.response.body", "body": piece, "more_body": more}


def transport_of(scope: Scope) -> asyncio.Transport | None:
    """Return the transport; None on a server other than HttpProtocol's, as in tests."""
    found: asyncio.Transport | None = scope.get("state", {}).get(_TRANSPORT)
    return found


def take_over(scope: Scope) -> asyncio.Transport | None:
    """Return the transport, for an answer that watches by itself how its client takes it."""
    scope.setdefault("state", {})[_IS_TAKEN_OVER] = True
    return transport_of(scope)


def is_taken_over(state: Mapping[str, Any]) -> bool:
    """Return whether the answer to the request of this state watches its client by itself."""
    return _IS_TAKEN_OVER in state


def linger(scope: Scope) -> None:
    """Tell the server that a request is answered, and that only what still comes is waited for."""
    tell = scope.get("state", {}).get(_LINGER)
    if tell is not None:
        tell()


def untaken_bytes(transport: asyncio.Transport) -> int:
    """Return how many bytes of what was sent the client has not yet acknowledged."""
    try:
        # What the operating system still holds for the client.
        held = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
    except (OSError, ValueError):
        # The connection has just ended; a closed socket's number is -1, which is no number at all.
        return 0
    return transport.get_write_buffer_size() + int.from_bytes(held, sys.byteorder)


def hold_little(transport: asyncio.Transport) -> None:
    """Make sending wait for the client, rather than buffer what it doesn't read."""
    transport.set_write_buffer_limits(high=0)
    opened: socket.socket = transport.get_extra_info("socket")
    # The client may just have gone.
    with suppress(OSError):
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)


async def cut(transport: asyncio.Transport) -> None:
    """Close the connection at once; what waits to be sent is dropped."""
    # Closing would first wait for the client to take what is left.
    transport.abort()
    # uvicorn takes an answer that is not whole for a mistake of ours, until it has heard that the
    # connection has ended.
    await asyncio.sleep(0)


class HttpProtocol(H11Protocol):
    """uvicorn's protocol, which also puts the transport into each request's state."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection; called by asyncio."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, _TRANSPORT: transport, _LINGER: self.linger}

    def linger(self) -> None:
        """Take note that the connection only waits for its client's end."""
