"""How the server ends: it serves on, and closes connections, until every node knows of its end."""

import asyncio
import logging
import signal
import socket
import sys
import time
from collections.abc import Callable
from types import FrameType

import uvicorn
from uvicorn.config import STARTUP_FAILURE

_CLOSE = (b"connection", b"close")

_log = logging.getLogger(__name__)


class DrainingServer(uvicorn.Server):
    """SIGTERM starts the drain, SIGINT skips it, a second signal ends the process at once."""

    def __init__(
        self,
        config: uvicorn.Config,
        drain_seconds: float,
        on_end: Callable[[], None] = lambda: None,
        second_port: tuple[int, type[asyncio.Protocol]] | None = None,
    ) -> None:
        """`on_end` is called once, on the event loop, as soon as the end has begun.

        The second port is served with a protocol of its own.
        """
        super().__init__(config)
        self._second_port = second_port
        self._drain_seconds = drain_seconds
        self._on_end = on_end
        self._ending = False
        self._signalled = False
        self._drained_at: float | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen; called by uvicorn."""
        await super().startup(sockets)
        if self._second_port is None:
            return
        port, protocol = self._second_port

        def connect() -> asyncio.Protocol:
            return protocol(  # type: ignore[call-arg]
                config=self.config, server_state=self.server_state, app_state=self.lifespan.state
            )

        loop = asyncio.get_running_loop()
        try:
            # Of uvicorn's own list: both end together.
            self.servers.append(await loop.create_server(connect, self.config.host, port))
        except OSError as error:
            _log.error("the second port: %s", error)
            await self.lifespan.shutdown()
            sys.exit(STARTUP_FAILURE)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Start the drain or the end; called by uvicorn with each signal."""
        if self._signalled:
            raise SystemExit(0)
        self._signalled = True
        if sig == signal.SIGTERM and self.started:
            self._drained_at = time.monotonic() + self._drain_seconds
        else:
            super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        """Begin and end the drain; called by uvicorn ten times a second."""
        if self._signalled and not self._ending:
            self._ending = True
            self._on_end()
        if self._drained_at is None:
            return await super().on_tick(counter)
        if _CLOSE not in self.config.encoded_headers:
            _log.info("draining for %g s", self._drain_seconds)
            self.config.encoded_headers.append(_CLOSE)
        if time.monotonic() >= self._drained_at:
            self.should_exit = True
        # At counter 0 uvicorn takes up changed headers.
        return await super().on_tick(0)
