"""What a login asks of a server: its configuration, and whether it takes a token."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from device_issuer import send


class ExportsServer:
    """Has no jobs; `login` is what its configuration says, `refused` are tokens that have ended."""

    def __init__(self, url: str, login: dict[str, Any] | None) -> None:
        self.url = url
        self.login = login
        self.refused: set[str] = set()
        self.seen: list[str] = []


@contextmanager
def exports_server(
    login: dict[str, Any] | None, takes: Callable[[str], bool]
) -> Iterator[ExportsServer]:
    """A server that takes the tokens that `takes` says, until the end of the context."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            if self.path == "/api/client-configuration":
                # It is public, and asked before there is a token.
                status = 400 if token else 200
                data = {"login": server.login, "downloads": True, "version": "0"}
                send(self, status, {"data": data})
            elif not self.path.startswith("/api/jobs"):
                send(self, 404, {})
            elif token not in server.refused and takes(token):
                server.seen.append(token)
                send(self, 200, {"data": [], "next_cursor": None})
            else:
                detail = "The token was refused: it has expired."
                send(self, 401, {"code": "token_invalid", "detail": detail})

        def log_message(self, *_: Any) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    server = ExportsServer(f"http://127.0.0.1:{listening.server_port}", login)
    thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()
