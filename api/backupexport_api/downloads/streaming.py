"""Sends an answer's pieces of a file, one chunk at a time, and cuts off clients that stall."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from backupexport_api.downloads.answer import DownloadAnswer
from backupexport_api.downloads.opened_file import OpenedFile, StorageUnavailableError
from backupexport_api.http import transport
from backupexport_api.http.transport import body_message
from backupexport_api.telemetry.metrics import DownloadOutcome

# Measured: less costs throughput, more costs memory and gains none (`make bench-download`).
CHUNK_BYTES = 128 * 1024
# What a client must take in each stall time: one that takes a byte now and then would hold its slot
# for days.
LEAST_BYTES = CHUNK_BYTES

_log = logging.getLogger(__name__)


class DownloadResponse(Response):
    """The answer to one client; closes the file in the end."""

    def __init__(
        self,
        answer: DownloadAnswer,
        file: OpenedFile,
        stall_seconds: float,
        *,
        on_sent: Callable[[int], object],
        on_end: Callable[[DownloadOutcome], None],
    ) -> None:
        """`on_sent` is called with each piece's number of bytes, `on_end` once, in any case."""
        super().__init__(status_code=answer.status, headers=answer.headers)
        self._answer = answer
        self._file = file
        self._stall_seconds = stall_seconds
        self._on_sent = on_sent
        self._on_end = on_end
        self._transport: asyncio.Transport | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer; called by Starlette."""
        del receive
        self._transport = transport.take_over(scope)
        # Where `_send` is cancelled: the process is ending.
        outcome: DownloadOutcome = "interrupted"
        try:
            outcome = await self._send(send)
        finally:
            self._file.close()
            self._on_end(outcome)
            if outcome != "complete" and self._transport is not None:
                await transport.cut(self._transport)

    async def _send(self, send: Send) -> DownloadOutcome:
        if self._transport is not None:
            # Each send then waits until the operating system has taken all of it: no more than one
            # chunk is in memory, and a download counts as complete only once all has left.
            self._transport.set_write_buffer_limits(0)
        # This may wait, too: until the client has taken the answer before on its connection.
        if not await self._is_taken(transport.start_message(self), send):
            return "stalled"
        try:
            async for chunk in self._chunks():
                if not await self._is_taken(body_message(chunk, more=True), send):
                    return "stalled"
                if self._has_vanished():
                    return "vanished"
                self._on_sent(len(chunk))
        except StorageUnavailableError as error:
            _log.warning("a download ends early: the storage failed: %s", error)
            return "failed"
        # An empty chunk, to wait for the last one.
        if not await self._is_taken(body_message(b"", more=True), send):
            return "stalled"
        if self._has_vanished():
            return "vanished"
        await send(body_message(b"", more=False))
        return "complete"

    def _has_vanished(self) -> bool:
        return self._transport is not None and self._transport.is_closing()

    async def _chunks(self) -> AsyncIterator[bytes | bytearray]:
        for piece in self._answer.pieces:
            if isinstance(piece, bytes):
                yield piece
                continue
            position = piece.start
            while position < piece.end:
                chunk = await self._file.read(position, min(CHUNK_BYTES, piece.end - position))
                if not chunk:
                    raise StorageUnavailableError("the file has become shorter")
                position += len(chunk)
                yield chunk

    async def _is_taken(self, message: Message, send: Send) -> bool:
        """Send a message; return False where the client takes too little of what was sent."""
        if self._transport is None or not self._transport.get_write_buffer_size():
            # Nothing is buffered, so this doesn't wait for the client.
            await send(message)
            # Let other tasks run while a client reads as fast as we send.
            await asyncio.sleep(0)
            return True
        task = asyncio.ensure_future(send(message))
        try:
            untaken = transport.untaken_bytes(self._transport)
            while not (await asyncio.wait({task}, timeout=self._stall_seconds))[0]:
                before, untaken = untaken, transport.untaken_bytes(self._transport)
                if before - untaken < LEAST_BYTES:
                    return False
            await task
        finally:
            task.cancel()
        return True
