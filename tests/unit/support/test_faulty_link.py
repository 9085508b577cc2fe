"""The link of the command line's tests does to files what it is told to, and to nothing else."""

import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest
from faulty_link import FaultyLink, faulty_link

FILE = bytes(range(256)) * 2000


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(FILE)))
        self.end_headers()
        self.wfile.write(FILE)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def link() -> Iterator[FaultyLink]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    with faulty_link(f"http://127.0.0.1:{server.server_port}") as made:
        yield made
    server.shutdown()
    server.server_close()
    thread.join()


def fetched(link: FaultyLink, *paths: str) -> list[bytes]:
    """On one connection."""
    connection = http.client.HTTPConnection(urlsplit(link.url).netloc, timeout=20)
    try:
        answers = []
        for path in paths:
            connection.request("GET", path)
            answers.append(connection.getresponse().read())
        return answers
    finally:
        connection.close()


def test_what_it_is_not_told_of_goes_through(link: FaultyLink) -> None:
    assert fetched(link, "/api/jobs/a", "/api/jobs/a/download", "/api/jobs/a") == [FILE] * 3
    assert link.passed == len(FILE)


def test_it_changes_one_byte_of_a_file(link: FaultyLink) -> None:
    link.flip_at(300_001)
    state, file, again = fetched(link, "/jobs", "/a/download", "/a/download")
    assert (state, again) == (FILE, FILE)
    assert [n for n in range(len(FILE)) if file[n] != FILE[n]] == [300_001]


def test_it_holds_a_file_at_a_byte(link: FaultyLink) -> None:
    link.hold_after(100_001)
    connection = http.client.HTTPConnection(urlsplit(link.url).netloc, timeout=20)
    connection.request("GET", "/a/download")
    answer = connection.getresponse()
    assert answer.read(100_001) == FILE[:100_001]
    assert link.is_held.wait(20)
    assert link.passed == 100_001
    assert fetched(link, "/jobs") == [FILE]
    link.hold_after(None)
    assert answer.read() == FILE[100_001:]
    connection.close()


def test_a_cut_ends_what_is_held(link: FaultyLink) -> None:
    link.hold_after(10)
    connection = http.client.HTTPConnection(urlsplit(link.url).netloc, timeout=20)
    connection.request("GET", "/a/download")
    answer = connection.getresponse()
    assert link.is_held.wait(20)
    link.cut()
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        answer.read()
    connection.close()
