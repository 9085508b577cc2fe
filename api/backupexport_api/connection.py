"""The server's side of one connection, and what a route may do to it beyond HTTP.

A stream can be open for hours to somebody who reads nothing, and ASGI has no word for that.
"""

import asyncio
import socket
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

_TRANSPORT = "transport"
# What the system keeps of a stream that its client doesn't read; it takes the double of this.
_SEND_BUFFER_BYTES = 8192


class Connection(H11Protocol):
    """uvicorn's, with its transport in the state of each request's scope."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Called by the event loop."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, _TRANSPORT: transport}


def hold_little(state: dict[str, Any]) -> None:
    """From now on keep next to nothing that the client doesn't read: sending waits instead."""
    transport: asyncio.Transport | None = state.get(_TRANSPORT)
    if transport is not None:
        transport.set_write_buffer_limits(high=0)
        opened: socket.socket = transport.get_extra_info("socket")
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)


async def cut(state: dict[str, Any]) -> None:
    """End the connection at once, with all that it holds."""
    transport: asyncio.Transport | None = state.get(_TRANSPORT)
    if transport is not None:
        transport.abort()
        # The loop tells uvicorn of it in its next round.
        await asyncio.sleep(0)
