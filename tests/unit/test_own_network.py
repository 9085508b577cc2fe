"""The network that the web page's tests give Chromium."""

import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from own_network import is_possible, own_network

pytestmark = pytest.mark.skipif(not is_possible(), reason="only root may make a network")

_ASK = """
import sys, urllib.request
try:
    print(urllib.request.urlopen(sys.argv[1], timeout=60).read().decode())
except OSError as error:
    print(type(getattr(error, "reason", error)).__name__)
"""
_NAMES_OF_LINKS = "import socket; print(sorted(name for _, name in socket.if_nameindex()))"


class _Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"x" * 300_000
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def _server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Answers) as server:
        serving = Thread(target=server.serve_forever)
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            serving.join()


def _run(program: str, *arguments: str) -> str:
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_in_there_one_address_is_reached_and_no_other() -> None:
    with _server() as url, _server() as other, own_network(url) as network:
        with network.entered():
            for _ in range(2):
                assert _run(_ASK, url) == "x" * 300_000
            assert _run(_ASK, other) == "ConnectionRefusedError"
            assert _run(_NAMES_OF_LINKS) == "['inside', 'lo', 'outside']"
        assert "inside" not in _run(_NAMES_OF_LINKS)
        with urllib.request.urlopen(other, timeout=60) as answer:
            assert answer.status == 200


def test_where_nobody_answers_the_connection_is_cut() -> None:
    # Taken, so that nobody else comes to listen there.
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        with own_network(url) as network, network.entered():
            assert _run(_ASK, url) in ("ConnectionResetError", "RemoteDisconnected")
