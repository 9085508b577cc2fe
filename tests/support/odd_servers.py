"""Servers that PostgreSQL's package doesn't hold: one of the future, and two that say nothing.

This file is also the program that runs in their pod, with nothing but Python's standard library.
"""

import socket
import socketserver
import struct
import threading
import time
from pathlib import Path
from typing import Any

NAME = "odd-servers"
NEWER_PORT = 5499
SILENT_PORT = 5400
DROPPING_PORT = 5401

NEWER_VERSION = "99.1"

_SSL_REQUEST, _GSS_REQUEST = 80877103, 80877104


class _Newer(socketserver.BaseRequestHandler):
    """The start of PostgreSQL's protocol, and an error for every question.

    https://www.postgresql.org/docs/current/protocol-flow.html
    """

    def handle(self) -> None:
        while self._start_up_code() in (_SSL_REQUEST, _GSS_REQUEST):
            self.request.sendall(b"N")
        authenticated = _message(b"R", struct.pack("!I", 0))
        parameters = {
            "server_version": NEWER_VERSION,
            "server_encoding": "UTF8",
            "client_encoding": "UTF8",
            "standard_conforming_strings": "on",
        }
        settings = b"".join(
            _message(b"S", f"{name}\0{value}\0".encode()) for name, value in parameters.items()
        )
        ready = _message(b"Z", b"I")
        self.request.sendall(authenticated + settings + ready)
        refusal = _message(b"E", b"SERROR\0VERROR\0C0A000\0Mthis server has no catalogs\0\0")
        while (kind := self._exactly(1)) and kind != b"X":
            self._exactly(struct.unpack("!I", self._exactly(4))[0] - 4)
            self.request.sendall(refusal + ready)

    def _start_up_code(self) -> int:
        length, code = struct.unpack("!II", self._exactly(8))
        self._exactly(length - 8)
        return int(code)

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self.request.recv(count - len(data))
            if not more:
                return b""
            data += more
        return data


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


class _Silent(socketserver.BaseRequestHandler):
    """Takes a connection and never says a word."""

    def handle(self) -> None:
        while self.request.recv(4096):
            pass


def drop_every_packet(port: int) -> list[socket.socket]:
    """Listen with a full queue: the kernel then drops what asks for a connection.

    The listener comes first; all have to stay open.
    """
    listener = socket.socket()
    listener.bind(("0.0.0.0", port))
    listener.listen(0)
    port = listener.getsockname()[1]
    held = [listener]
    for _ in range(8):
        caller = socket.socket()
        caller.setblocking(False)
        caller.connect_ex(("127.0.0.1", port))
        held.append(caller)
    return held


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def _serve() -> None:
    held = drop_every_packet(DROPPING_PORT)
    for port, handler in ((NEWER_PORT, _Newer), (SILENT_PORT, _Silent)):
        server = _Server(("", port), handler)
        threading.Thread(target=server.serve_forever).start()
    while held:
        time.sleep(3600)


def manifests(namespace: str, image: str, security: dict[str, Any]) -> list[dict[str, Any]]:
    """A pod of `image`, which has Python, with all three servers, and its Service."""
    labels = {"app.kubernetes.io/name": NAME}
    ports = (NEWER_PORT, SILENT_PORT, DROPPING_PORT)
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": NAME, "namespace": namespace},
            "spec": {
                "selector": labels,
                "ports": [{"name": f"port-{port}", "port": port} for port in ports],
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": NAME, "namespace": namespace, "labels": labels},
            "spec": {
                "automountServiceAccountToken": False,
                "terminationGracePeriodSeconds": 0,
                "securityContext": {
                    "runAsNonRoot": True,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [
                    {
                        "name": "servers",
                        "image": image,
                        "command": ["python3", "-c"],
                        "args": [Path(__file__).read_text(encoding="utf-8")],
                        "readinessProbe": {
                            "tcpSocket": {"port": NEWER_PORT},
                            "periodSeconds": 1,
                        },
                        "securityContext": security,
                    }
                ],
            },
        },
    ]


if __name__ == "__main__":
    _serve()
