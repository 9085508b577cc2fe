"""An HTTP server on loopback that answers the command line as a test says, well or badly."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "a-token-that-nobody-may-see"


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Reply:
    """One answer; `pieces` are sent one after the other, and then the connection is closed."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    pieces: "Iterator[bytes] | tuple[bytes, ...]" = ()


def data(value: Any, status: int = 200) -> Reply:
    """A success of the api's."""
    return plain(json.dumps({"data": value}).encode(), status)


def plain(body: bytes, status: int = 200, **headers: str) -> Reply:
    """Any answer of a known length."""
    return Reply(status, {"Content-Length": str(len(body)), **headers}, (body,))


def problem(status: int, code: str, detail: str, **headers: str) -> Reply:
    """An error of the api's."""
    body = {"status": status, "code": code, "detail": detail, "request_id": "r-1"}
    return plain(json.dumps(body).encode(), status, **headers)


Answering = Callable[[Asked], Reply]


class Server:
    """Answers each request with what `answer` makes of it, and remembers it."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.answer: Answering = lambda _: problem(404, "not_found", "There is nothing.")
        self.asked: list[Asked] = []

    def settings(self) -> dict[str, str]:
        """The environment variables that lead there."""
        return {"BACKUPEXPORT_URL": self.url, "BACKUPEXPORT_TOKEN": TOKEN}


@contextmanager
def serving() -> Iterator[Server]:
    """Serve for as long as the context lasts."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Nothing."""

        def _serve(self) -> None:
            parts = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            asked = Asked(
                self.command, parts.path, parse_qs(parts.query), dict(self.headers.items()),
                self.rfile.read(length),
            )  # fmt: skip
            server.asked.append(asked)
            reply = server.answer(asked)
            with suppress(ConnectionError):
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Connection", "close")
                self.end_headers()
                for piece in reply.pieces:
                    self.wfile.write(piece)
                    self.wfile.flush()
            self.close_connection = True

        do_GET = do_POST = do_DELETE = do_HEAD = _serve  # noqa: N815 - as the library names them

    class Listener(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """Nothing: a client may go at any time."""

    with Listener(("127.0.0.1", 0), Handler) as listener:
        server = Server(listener.server_port)
        thread = threading.Thread(target=listener.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            listener.shutdown()
            thread.join()
