"""The body of an answer in large pieces, and whatever cuts it off as one error."""

import socket
from collections.abc import Iterator
from contextlib import suppress

import httpcore
import httpx

# Larger ones leave the processor's cache before the checksum has seen them.
PIECE_BYTES = 512 * 1024
_STALL_SECONDS = 30.0


class CutError(Exception):
    """The connection ended, or nothing came for long, before the body had come."""


class Body:
    """What comes after an answer's head."""

    def __init__(self, response: httpx.Response) -> None:
        """`response` was not read yet."""
        self._response = response

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes as they come.  Raises CutError."""
        try:
            yield from self._raw() if self._is_plain() else self._response.iter_raw()
        except (httpx.TransportError, httpcore.NetworkError, httpcore.TimeoutException) as error:
            raise CutError(str(error) or type(error).__name__) from None
        except (OSError, httpcore.ProtocolError, httpx.StreamError) as error:
            # Of a connection that `abort` has shut.
            raise CutError(type(error).__name__) from None

    def abort(self) -> None:
        """Wake up whoever reads the body in another thread: the connection ends."""
        stream = self._response.extensions.get("network_stream")
        found = stream.get_extra_info("socket") if stream is not None else None
        if isinstance(found, socket.socket):
            with suppress(OSError):
                found.shutdown(socket.SHUT_RDWR)

    def _is_plain(self) -> bool:
        """Whether the body is the next `Content-Length` bytes of the connection."""
        headers = self._response.headers
        return (
            self._response.http_version == "HTTP/1.1"
            and "Transfer-Encoding" not in headers
            and headers.get("Content-Length", "").isdecimal()
            and "network_stream" in self._response.extensions
        )

    def _raw(self) -> Iterator[bytes]:
        """Read past httpx's parser, which makes half of curl's speed (`make bench-cli`).

        The connection is closed afterwards, because the parser does not know how far it is.
        """
        left = int(self._response.headers["Content-Length"])
        # What came together with the head is in the parser.
        parsed = self._response.iter_raw()
        first = next(parsed, b"")
        left -= len(first)
        yield first
        stream = self._response.extensions["network_stream"]
        while left > 0:
            piece = stream.read(min(PIECE_BYTES, left), timeout=_STALL_SECONDS)
            if not piece:
                raise CutError("the server closed the connection")
            left -= len(piece)
            yield piece
