"""A server that speaks PostgreSQL's protocol and means no good: one class for each trick.

Each listens on a port of its own of 127.0.0.1, for as many connections as come.
https://www.postgresql.org/docs/current/protocol-message-formats.html
"""

import base64
import contextlib
import socketserver
import struct
import threading
import time
from collections.abc import Iterator
from typing import ClassVar

_SSL_REQUEST, _GSS_REQUEST = 80877103, 80877104
_PARAMETERS = {
    "server_version": "17.6",
    "server_encoding": "UTF8",
    "client_encoding": "UTF8",
    "standard_conforming_strings": "on",
}
_LARGEST = 0x3FFF0000
READY = b"Z\0\0\0\5I"
AUTHENTICATED = b"R\0\0\0\x08\0\0\0\0"


def message(kind: bytes, body: bytes = b"") -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


def parameter(name: str, value: str) -> bytes:
    return message(b"S", f"{name}\0{value}\0".encode())


def row_of(*values: bytes) -> bytes:
    cells = b"".join(struct.pack("!I", len(value)) + value for value in values)
    return message(b"D", struct.pack("!H", len(values)) + cells)


def description(columns: int) -> bytes:
    column = b"c\0" + struct.pack("!IhIhih", 0, 0, 25, -1, -1, 0)
    return message(b"T", struct.pack("!H", columns) + column * columns)


def error(text: bytes) -> bytes:
    return message(b"E", b"SERROR\0VERROR\0C42501\0M" + text + b"\0\0")


class Hostile(socketserver.BaseRequestHandler):
    """Lets everybody in and answers each question with no rows; what derives from it doesn't."""

    version: ClassVar[str] = _PARAMETERS["server_version"]

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            while self._start_up_code() in (_SSL_REQUEST, _GSS_REQUEST):
                self.request.sendall(b"N")
            self.let_in()
            while (kind := self._exactly(1)) and kind != b"X":
                question = self._exactly(struct.unpack("!I", self._exactly(4))[0] - 4)
                self.answer(question)

    def let_in(self) -> None:
        named = {**_PARAMETERS, "server_version": self.version}
        settings = b"".join(parameter(name, value) for name, value in named.items())
        self.request.sendall(AUTHENTICATED + settings + READY)

    def answer(self, question: bytes) -> None:
        self.request.sendall(message(b"C", b"SELECT 0\0") + READY)

    def flood(self, piece: bytes) -> None:
        """Sends `piece` again and again, until nobody reads it any more."""
        many = piece * (1 + 65536 // len(piece))
        while True:
            self.request.sendall(many)

    def trickle(self, piece: bytes) -> None:
        """Sends a byte at a time, without end."""
        while True:
            for byte in piece:
                self.request.sendall(bytes([byte]))
                time.sleep(0.2)

    def _start_up_code(self) -> int:
        length, code = struct.unpack("!II", self._exactly(8))
        self._exactly(length - 8)
        return int(code)

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self.request.recv(count - len(data))
            if not more:
                raise ConnectionResetError
            data += more
        return data


# What comes before anybody is let in.


class ScramForEver(Hostile):
    """Asks for as many rounds of SCRAM's hash as its number can say, which takes an hour."""

    def let_in(self) -> None:
        self.request.sendall(message(b"R", struct.pack("!I", 10) + b"SCRAM-SHA-256\0\0"))
        self._exactly(1)
        first = self._exactly(struct.unpack("!I", self._exactly(4))[0] - 4)
        nonce = first.rpartition(b"r=")[2] + b"more"
        salt = base64.b64encode(b"0123456789abcdef")
        said = b"r=" + nonce + b",s=" + salt + b",i=2147483647"
        self.request.sendall(message(b"R", struct.pack("!I", 11) + said))


class NoticesBeforeLogin(Hostile):
    def let_in(self) -> None:
        self.request.sendall(AUTHENTICATED)
        self.flood(message(b"N", b"SNOTICE\0VNOTICE\0C00000\0Mhello\0\0"))


class ParametersForEver(Hostile):
    """Tells of new settings without end, and a client remembers each."""

    def let_in(self) -> None:
        self.request.sendall(AUTHENTICATED)
        number = 0
        while True:
            number += 1
            self.request.sendall(parameter(f"a{number}", "v" * 20_000))


class TrickleBeforeLogin(Hostile):
    def let_in(self) -> None:
        self.request.sendall(AUTHENTICATED)
        self.trickle(parameter("a", "b" * 1000))


# What answers a question.


class CopyOut(Hostile):
    """Begins a COPY where rows were asked for."""

    kind: ClassVar[bytes] = b"H"

    def answer(self, question: bytes) -> None:
        self.request.sendall(message(self.kind, b"\0\0\0"))


class CopyIn(CopyOut):
    kind = b"G"


class CopyBoth(CopyOut):
    kind = b"W"


class NoticesForEver(Hostile):
    def answer(self, question: bytes) -> None:
        self.flood(message(b"N", b"SNOTICE\0VNOTICE\0C00000\0Mhello\0\0"))


class ResultsForEver(Hostile):
    def answer(self, question: bytes) -> None:
        self.flood(message(b"C", b"SELECT 0\0"))


class EmptyResultsForEver(Hostile):
    def answer(self, question: bytes) -> None:
        self.flood(description(3) + message(b"C", b"SELECT 0\0"))


class TrickledAnswer(Hostile):
    def answer(self, question: bytes) -> None:
        self.request.sendall(description(3))
        self.trickle(row_of(b"1", b"2", b"3"))


class RowWithoutEnd(Hostile):
    """One row of a gigabyte."""

    def answer(self, question: bytes) -> None:
        head = b"D" + struct.pack("!IHI", _LARGEST, 1, _LARGEST - 10)
        self.request.sendall(description(1) + head)
        self.flood(b"x" * 65536)


class RowsWithoutEnd(Hostile):
    def answer(self, question: bytes) -> None:
        self.request.sendall(description(3))
        self.flood(row_of(b"1", b"2", b"3"))


class WideRowsWithoutEnd(Hostile):
    def answer(self, question: bytes) -> None:
        self.request.sendall(description(3))
        self.flood(row_of(*[b"9" * 1_000_000] * 3))


class ManyColumns(Hostile):
    def answer(self, question: bytes) -> None:
        self.request.sendall(description(32_000) + row_of(*[b"1"] * 32_000))
        self.request.sendall(message(b"C", b"SELECT 1\0") + READY)


class LongError(Hostile):
    """An error whose text has half a gigabyte."""

    def answer(self, question: bytes) -> None:
        fields = b"SERROR\0VERROR\0C42501\0M"
        self.request.sendall(b"E" + struct.pack("!I", _LARGEST // 2) + fields)
        self.flood(b"role role does " * 4096)


class LargeNumbers(Hostile):
    """Sizes that are no sizes."""

    def answer(self, question: bytes) -> None:
        rows = description(3) + row_of(b"9" * 4000, b"-5", b"nan")
        self.request.sendall(rows + message(b"C", b"SELECT 1\0") + READY)


class LargeSizes(Hostile):
    def answer(self, question: bytes) -> None:
        rows = description(3) + row_of(b"9" * 400, b"1", b"1")
        self.request.sendall(rows + message(b"C", b"SELECT 1\0") + READY)


class TooManySizes(Hostile):
    def answer(self, question: bytes) -> None:
        rows = description(5) + row_of(*[b"1"] * 5)
        self.request.sendall(rows + message(b"C", b"SELECT 1\0") + READY)


class UndecodableNames(Hostile):
    """A table whose name is no UTF-8, has control characters, and is long."""

    def answer(self, question: bytes) -> None:
        name = b"public.caf\xe9\x1b[31m\r\nline" + b"x" * 2000
        rows = description(3) + row_of(b"table", name, b"f")
        self.request.sendall(rows + message(b"C", b"SELECT 1\0") + READY)


class OddVersion(Hostile):
    version = "99.1\x1b[31m" + "9" * 20_000


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False


@contextlib.contextmanager
def listening(handler: type[Hostile]) -> Iterator[int]:
    """The port on which `handler` serves."""
    with _Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
