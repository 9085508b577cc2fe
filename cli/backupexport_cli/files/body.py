"""The body of an answer in large pieces, and whatever cuts it off as one error."""

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress

import httpcore
import httpx

# Larger ones leave the processor's cache before the checksum has seen them.
PIECE_BYTES = 256 * 1024
_STALL_SECONDS = 30.0
# What has come is passed on after so long, be it ever so little.
_MOMENT_SECONDS = 0.1


class CutError(Exception):
    """The connection ended, or nothing came for long, before the body had come."""


class Body:
    """What comes after an answer's head."""

    def __init__(self, response: httpx.Response) -> None:
        """`response` was not read yet."""
        self._response = response

    def pieces(self) -> Iterator[bytes | memoryview]:
        """Yield the bytes as they come.  Raises CutError."""
        try:
            connection = self._plain_connection()
            yield from self._response.iter_raw() if connection is None else self._raw(connection)
        except (httpx.TransportError, httpcore.NetworkError, httpcore.TimeoutException) as error:
            raise CutError(str(error) or type(error).__name__) from None
        except (OSError, httpcore.ProtocolError, httpx.StreamError) as error:
            # Of a connection that `abort` has shut.
            raise CutError(type(error).__name__) from None

    def abort(self) -> None:
        """Wake up whoever reads the body in another thread: the connection ends."""
        connection = self._connection()
        if connection is not None:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _connection(self) -> socket.socket | None:
        stream = self._response.extensions.get("network_stream")
        found = stream.get_extra_info("socket") if stream is not None else None
        return found if isinstance(found, socket.socket) else None

    def _plain_connection(self) -> socket.socket | None:
        """Return a connection whose next `Content-Length` bytes are the body; None without one."""
        connection, headers = self._connection(), self._response.headers
        if connection is None:
            return None
        # With TLS inside a proxy's TLS the socket has only what nobody here can read.
        is_tls = (
            self._response.extensions["network_stream"].get_extra_info("ssl_object") is not None
        )
        is_plain = (
            (isinstance(connection, ssl.SSLSocket) or not is_tls)
            and self._response.http_version == "HTTP/1.1"
            and "Transfer-Encoding" not in headers
            and headers.get("Content-Length", "").isdecimal()
        )
        return connection if is_plain else None

    def _raw(self, connection: socket.socket) -> Iterator[bytes | memoryview]:
        """Read past httpx's parser, which makes half of curl's speed (`make bench-cli`).

        The connection is closed afterwards, because the parser does not know how far it is.
        """
        left = int(self._response.headers["Content-Length"])
        # What came together with the head is in the parser.
        parsed = self._response.iter_raw()
        first = next(parsed, b"")
        left -= len(first)
        yield first
        connection.settimeout(_MOMENT_SECONDS)
        while left > 0:
            # Each has memory of its own: the checksum may be behind.
            piece = memoryview(bytearray(min(PIECE_BYTES, left)))
            count = _fill(connection, piece)
            left -= count
            yield piece[:count]


def _fill(connection: socket.socket, piece: memoryview) -> int:
    """Return how many bytes came: a piece full, or what there was when none came for a moment.

    Few large pieces cost less than each packet by itself, and what is slow is seen as it comes.
    Raises CutError at the end of the connection, and where nothing came for long.
    """
    count, began = 0, time.monotonic()
    while count < len(piece):
        try:
            received = connection.recv_into(piece[count:])
        except TimeoutError:
            if count > 0:
                return count
            if time.monotonic() - began >= _STALL_SECONDS:
                raise CutError("nothing came for long") from None
            continue
        if not received:
            if count > 0:
                return count
            raise CutError("the server closed the connection")
        count += received
        if time.monotonic() - began >= _MOMENT_SECONDS:
            break
    return count
