"""An api with one finished job, and its file, sent well or in every wrong way; on loopback."""

import hashlib
import json
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

JOB_ID = "0b7c2d7e-4d1c-4b7e-9a55-5f1f0a6f9b11"
FILE_NAME = f"20260129T153000Z-{JOB_ID}.sql.zst"
_PIECE = 16 * 1024


def job_of(content: bytes, name: str = FILE_NAME, **artifact: Any) -> dict[str, Any]:
    """A completed job with a file of that content."""
    return {
        "job_id": JOB_ID,
        "status": "completed",
        "project_id": "proj-123",
        "created_at": "2026-01-29T15:30:00.000Z",
        "format": "sql",
        "content": "all",
        "include_schemas": [],
        "exclude_schemas": [],
        "include_tables": [],
        "exclude_tables": [],
        "exclude_table_data": [],
        "owner": True,
        "privileges": True,
        "compress": True,
        "compression": "zstd",
        "warnings": [],
        "restore_hints": [],
        "deliveries": [],
        "artifact": {
            "path": f"proj-123/{name}",
            "storage": "default",
            "size_bytes": len(content),
            "uncompressed_bytes": len(content),
            "server_version": "17.5",
            "dump_version": "17.6",
            "sha256": hashlib.sha256(content).hexdigest(),
            **artifact,
        },
    }


@dataclass
class Manners:
    """How the file is sent."""

    ranges: bool = True
    etag: str | None = '"one"'
    # After so many bytes of each answer the connection is cut, answer by answer.
    cuts: list[int] = field(default_factory=list)
    # After so many bytes of each answer nothing comes, until `go_on` is set.
    holds: list[int] = field(default_factory=list)
    content_range: str | None = None
    # A server that says nothing of the length ends the connection.
    length: int | None = None
    has_length: bool = True
    # Answers in place of the file, one a request.
    statuses: list[int] = field(default_factory=list)
    redirect_to: str | None = None
    most_at_once: int | None = None
    # A cut without a farewell: the client's system forgets what was not read yet.
    resets: bool = True
    # A bucket tells its refusals in XML.
    is_bucket: bool = False


class FileServer:
    """What is asked of it, what it has sent, and the way it behaves."""

    def __init__(self, content: bytes, port: int) -> None:
        self.content = content
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.job = job_of(content)
        self.manners = Manners()
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.go_on = threading.Event()
        self.held = threading.Semaphore(0)
        self.at_once = 0
        self.most_seen = 0
        self.lock = threading.Lock()

    @property
    def asked_ranges(self) -> list[str | None]:
        """The Range of each request for the file."""
        return [headers.get("Range") for path, headers in self.requests if "download" in path]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10
    files: FileServer

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        files = self.files
        with files.lock:
            files.requests.append((self.path, dict(self.headers.items())))
        if not self.path.endswith("/download"):
            self._json(200, {"data": files.job})
            return
        manners = files.manners
        with files.lock:
            status = manners.statuses.pop(0) if manners.statuses else None
            files.at_once += 1
            files.most_seen = max(files.most_seen, files.at_once)
            is_too_many = manners.most_at_once is not None and files.at_once > manners.most_at_once
        try:
            if is_too_many:
                self._json(429, {"code": "too_many_downloads", "detail": "Wait for one to end."})
            elif status is not None and manners.is_bucket:
                self._answer(status, "application/xml", b"<Error><Code>AccessDenied</Code></Error>")
            elif status is not None:
                self._json(status, {"code": "artifact_gone", "detail": "It is gone."})
            elif manners.redirect_to is not None:
                self.send_response(307)
                self.send_header("Location", manners.redirect_to)
                self.send_header("Content-Length", "0")
                self.end_headers()
            else:
                with suppress(OSError):
                    self._file(manners)
        finally:
            with files.lock:
                files.at_once -= 1

    def _json(self, status: int, value: Any) -> None:
        self._answer(status, "application/json", json.dumps(value).encode())

    def _answer(self, status: int, media_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _file(self, manners: Manners) -> None:
        content = self.files.content
        start, end, status = 0, len(content), 200
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if_range = self.headers.get("If-Range")
        if asked and manners.ranges and if_range in (None, manners.etag):
            start = int(asked[1])
            end, status = int(asked[2]) + 1 if asked[2] else end, 206
        body = content[start:end]
        self.send_response(status)
        if manners.etag is not None:
            self.send_header("ETag", manners.etag)
        if status == 206:
            told = manners.content_range or f"bytes {start}-{end - 1}/{len(content)}"
            self.send_header("Content-Range", told)
        if manners.has_length:
            length = len(body) if manners.length is None else manners.length
            self.send_header("Content-Length", str(length))
        else:
            self.send_header("Connection", "close")
        self.end_headers()
        with self.files.lock:
            cut = manners.cuts.pop(0) if manners.cuts else None
            hold = manners.holds.pop(0) if manners.holds else None
        self._send(body[:cut], hold)
        if cut is not None or not manners.has_length or manners.length is not None:
            self.close_connection = True
            if cut is not None and manners.resets:
                linger = b"\1\0\0\0\0\0\0\0"
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    def _send(self, body: bytes, hold: int | None) -> None:
        if hold is not None and body:
            # There is always something that doesn't come, however little is asked for.
            hold = min(hold, len(body) - 1)
            self._write(body[:hold])
            self.files.held.release()
            self.files.go_on.wait(60)
            body = body[hold:]
        self._write(body)

    def _write(self, body: bytes) -> None:
        for at in range(0, len(body), _PIECE):
            self.wfile.write(body[at : at + _PIECE])
        self.wfile.flush()


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True

    def handle_error(self, *_: object) -> None:
        """A client that is gone is nothing to tell."""


@contextmanager
def serving_file(content: bytes, certificate: Path | None = None) -> Iterator[FileServer]:
    """Serve a job and its file until the end of the context; with a certificate, by TLS."""

    class Handler(_Handler):
        pass

    with _Server(("127.0.0.1", 0), Handler) as server:
        files = FileServer(content, server.server_address[1])
        if certificate is not None:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(certificate)
            # The handshake is left to the connection's own thread.
            server.socket = tls.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
            files.url = files.url.replace("http:", "https:")
        Handler.files = files
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield files
        finally:
            files.go_on.set()
            server.shutdown()
            thread.join()
