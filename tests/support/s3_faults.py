"""A proxy between a client and an S3 server that fails as networks and servers do.

The client signs for the proxy's address, and its Host goes on unchanged, so signatures stay valid.
It needs nothing but Python, so it also runs in a pod:

    python3 s3_faults.py http://s3:7070 [--port 7071] [--authority ca.pem]

    POST /-/let-through  {"count": 3, "fault": {"what": "answer", "times": 4}}
    POST /-/heal         no fault any more
    GET  /-/requests     ["PUT /exports/a", ...]: what has come, in order
"""

import argparse
import contextlib
import http.client
import json
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, BinaryIO, Self, cast
from urllib.parse import urlsplit

# The connection ends before the server has heard of the request, with half of the request's body
# at the server, or when the server has answered and the client has not heard it; all later ones
# end before.
DROP_BEFORE, DROP_WITHIN, DROP_AFTER = "drop before", "drop within", "drop after"
# The server has answered, and the client hears the first half of it.
CUT = "cut"
# The server hears nothing, and an error is answered.
ANSWER = "answer"
# All goes well, late.
DELAY = "delay"

_CONTROL = "/-/"
_PIECE = 64 * 1024
_UPSTREAM_SECONDS = 60
# What is between two neighbours alone; RFC 9110, section 7.6.1.
_OWN_HEADERS = {"connection", "expect", "keep-alive", "proxy-connection", "transfer-encoding"}


@dataclass(frozen=True)
class Fault:
    """What happens to the next `times` requests; None: to all."""

    what: str
    times: int | None = None
    # Of an answer.
    status: int = 503
    code: str = "SlowDown"
    # Of a delay.
    seconds: float = 0

    def __post_init__(self) -> None:
        if self.what not in {DROP_BEFORE, DROP_WITHIN, DROP_AFTER, CUT, ANSWER, DELAY}:
            raise ValueError(self.what)


class FaultProxy:
    """Listens while its context lasts; `authority` is the PEM that vouches for the server."""

    def __init__(
        self, upstream: str, authority: str | None = None, address: tuple[str, int] = ("", 0)
    ) -> None:
        self._upstream = urlsplit(upstream)
        self._tls = ssl.create_default_context(cadata=authority)
        self._lock = threading.Lock()
        self._requests: list[str] = []
        self._left = 0
        self._fault: Fault | None = None
        self._happened = 0
        # Called where a fault is about to be seen by the client, such as to end it.
        self.on_fault: Callable[[], None] = lambda: None
        self._server = _Server(address if address[0] else ("127.0.0.1", address[1]), _Handler)
        self._server.proxy = self
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self.serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def serve(self) -> None:
        """Serve until the context ends."""
        self._server.serve_forever(poll_interval=0.05)

    @property
    def requests(self) -> list[str]:
        """Method and target of all that has come, in order."""
        with self._lock:
            return list(self._requests)

    def let_through(self, count: int, fault: Fault) -> None:
        """Let `count` more requests through, and then comes the fault."""
        with self._lock:
            self._left, self._fault, self._happened = count, fault, 0

    def heal(self) -> None:
        """Let all through."""
        with self._lock:
            self._fault = None

    def take(self, request: str) -> Fault | None:
        """What happens to this request."""
        with self._lock:
            self._requests.append(request)
            fault = self._fault
            if fault is None:
                return None
            if self._left > 0:
                self._left -= 1
                return None
            if self._happened == fault.times:
                return None
            self._happened += 1
            if fault.what in {DROP_WITHIN, DROP_AFTER} and self._happened > 1:
                return Fault(DROP_BEFORE)
            return fault

    def connect(self) -> http.client.HTTPConnection:
        """A connection of one request to the server."""
        address = (str(self._upstream.hostname), self._upstream.port)
        if self._upstream.scheme == "https":
            return http.client.HTTPSConnection(
                *address, timeout=_UPSTREAM_SECONDS, context=self._tls
            )
        return http.client.HTTPConnection(*address, timeout=_UPSTREAM_SECONDS)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Threads of clients that keep their connections would be waited for.
    block_on_close = False
    proxy: FaultProxy

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a connection that ended: that is what this is for."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Drop(Exception):  # noqa: N818 - an end, not an error
    pass


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: object) -> None:
        pass

    def _serve(self) -> None:
        if self.path.startswith(_CONTROL):
            self._control()
            return
        proxy = self.server.proxy
        fault = proxy.take(f"{self.command} {self.path}")
        what = fault.what if fault else ""
        try:
            if fault and what == ANSWER:
                self._refuse(fault)
            else:
                if fault and what == DELAY:
                    time.sleep(fault.seconds)
                self._let_through(what)
        except (_Drop, OSError, http.client.HTTPException):
            if what in {DROP_BEFORE, DROP_WITHIN, DROP_AFTER, CUT}:
                proxy.on_fault()
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

    do_DELETE = do_GET = do_HEAD = do_POST = do_PUT = _serve  # noqa: N815 - http.server's names

    def _let_through(self, what: str) -> None:
        if what == DROP_BEFORE:
            raise _Drop
        with contextlib.closing(self.server.proxy.connect()) as connection:
            self._ask(connection, stop_within=what == DROP_WITHIN)
            answer = connection.getresponse()
            if what == DROP_AFTER:
                answer.read()
                raise _Drop
            self._pass_on(answer, cut=what == CUT)

    def _ask(self, connection: http.client.HTTPConnection, *, stop_within: bool) -> None:
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in _OWN_HEADERS:
                connection.putheader(name, value)
        connection.putheader("Connection", "close")
        connection.endheaders()
        # One that refuses a request may answer before it has read it all.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for piece in self._body(self._length // 2 if stop_within else self._length):
                connection.send(piece)
        if stop_within:
            raise _Drop

    @property
    def _length(self) -> int:
        # S3 takes no body without a length.
        return int(self.headers.get("Content-Length") or 0)

    def _body(self, length: int) -> Iterator[bytes]:
        while length > 0:
            piece = self.rfile.read(min(_PIECE, length))
            if not piece:
                raise _Drop
            length -= len(piece)
            yield piece

    def _pass_on(self, answer: http.client.HTTPResponse, *, cut: bool) -> None:
        has_body = answer.length != 0 and self.command != "HEAD"
        is_chunked = has_body and answer.length is None
        head = f"HTTP/1.1 {answer.status} {answer.reason}\r\n"
        for name, value in answer.getheaders():
            if name.lower() not in _OWN_HEADERS:
                head += f"{name}: {value}\r\n"
        if is_chunked:
            head += "Transfer-Encoding: chunked\r\n"
        start = f"{head}\r\n".encode("latin-1")
        if cut and not has_body:
            self.wfile.write(start[: len(start) // 2])
            raise _Drop
        self.wfile.write(start)
        if cut:
            whole = answer.length or 2
            self._copy(cast("BinaryIO", answer), whole // 2)
            raise _Drop
        while has_body and (piece := answer.read1(_PIECE)):
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if is_chunked else piece)
        if is_chunked:
            self.wfile.write(b"0\r\n\r\n")

    def _copy(self, source: BinaryIO, count: int) -> None:
        while count > 0 and (piece := source.read(min(_PIECE, count))):
            self.wfile.write(piece)
            count -= len(piece)

    def _refuse(self, fault: Fault) -> None:
        # Read first, or the client hears of a closed connection instead of an answer.
        for _ in self._body(self._length):
            pass
        self.server.proxy.on_fault()
        error = (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f"<Error><Code>{fault.code}</Code><Message>of the tests</Message>"
            "<RequestId>0</RequestId></Error>"
        )
        self._answer(fault.status, "application/xml", error)

    def _control(self) -> None:
        proxy = self.server.proxy
        # Through the API server it comes without a length.
        is_chunked = self.headers.get("Transfer-Encoding") == "chunked"
        body = b"".join(self._chunks()) if is_chunked else self.rfile.read(self._length)
        told: Any = {}
        if self.path == f"{_CONTROL}let-through":
            wanted = json.loads(body)
            proxy.let_through(wanted["count"], Fault(**wanted["fault"]))
        elif self.path == f"{_CONTROL}heal":
            proxy.heal()
        else:
            told = proxy.requests
        self._answer(200, "application/json", json.dumps(told))

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline(_PIECE), 16):
            yield self.rfile.read(size)
            self.rfile.readline(_PIECE)
        self.rfile.readline(_PIECE)

    def _answer(self, status: int, kind: str, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text.encode())


def main() -> None:
    """Serve until the pod ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("upstream")
    parser.add_argument("--port", type=int, default=7071)
    parser.add_argument("--authority", type=argparse.FileType())
    options = parser.parse_args()
    authority = options.authority.read() if options.authority else None
    FaultProxy(options.upstream, authority, ("0.0.0.0", options.port)).serve()


if __name__ == "__main__":
    main()
