"""A JWKS server on loopback that can be made to misbehave."""

import ssl
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from token_issuers import jwks


class JwksServer:
    """Serves `document`; `before_answer` runs first, `status` and `headers` go with it."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.fetches = 0
        self._scheme = "http"
        self.status = 200
        self.headers: dict[str, str] = {}
        self.document = b""
        self.before_answer: Callable[[], Any] = lambda: None
        self.send_body: Callable[[Any, bytes], Any] = lambda out, body: out.write(body)
        self.publish(*keys)
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server._answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            def handle_error(self, *_: Any) -> None:
                """A client that hangs up is what some tests are about."""

        self._server = Quiet(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.server_port}/keys"

    def use_tls(self, context: ssl.SSLContext) -> None:
        """Serve https from now on."""
        self._scheme = "https"
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    def publish(self, *keys: dict[str, Any]) -> None:
        """Serve a set of `keys`."""
        self.document = jwks(*keys)

    def close(self) -> None:
        """Refuse connections from now on."""
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, request: Any) -> None:
        self.fetches += 1
        self.before_answer()
        body = self.document
        request.send_response(self.status)
        request.send_header("Content-Length", str(len(body)))
        for name, value in self.headers.items():
            request.send_header(name, value)
        request.end_headers()
        self.send_body(request.wfile, body)


def eventually(condition: Callable[[], Any], seconds: float = 10.0) -> None:
    """Wait until `condition` holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition was never met"
        time.sleep(0.01)
