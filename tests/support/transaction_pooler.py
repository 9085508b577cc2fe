"""A pooler in transaction mode before a real server: each transaction gets a session of others.

This file is also the program that runs in its pod, with the psycopg of the runner's image.  It has
one session of the server's for all clients, lets everybody in, and speaks the simple protocol
(https://www.postgresql.org/docs/current/protocol-message-formats.html).
"""

import contextlib
import itertools
import socketserver
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psycopg import pq

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn, PGresult

NAME = "transaction-pooler"
PORT = 6432

_SSL_REQUEST, _GSS_REQUEST = 80877103, 80877104
_PASSED_ON = ("server_version", "server_encoding", "client_encoding", "standard_conforming_strings")
# As PgBouncer's, the keys for canceling are no processes of the server.
_KEYS = itertools.count(1_000_000)
_SEVERITY, _SQLSTATE, _MESSAGE = b"S", b"C", b"M"


def _message(kind: bytes, body: bytes = b"") -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


def _cell(value: bytes | None) -> bytes:
    return struct.pack("!i", -1) if value is None else struct.pack("!i", len(value)) + value


def _told(result: "PGresult") -> Iterator[bytes]:
    if result.status == pq.ExecStatus.FATAL_ERROR:
        fields = {
            _SEVERITY: result.error_field(pq.DiagnosticField.SEVERITY),
            _SQLSTATE: result.error_field(pq.DiagnosticField.SQLSTATE),
            _MESSAGE: result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY),
        }
        told = b"".join(code + (value or b"") + b"\0" for code, value in fields.items())
        yield _message(b"E", told + b"\0")
        return
    if result.status == pq.ExecStatus.TUPLES_OK:
        columns = b"".join(
            (result.fname(column) or b"") + b"\0"
            + struct.pack("!IhIhih", 0, 0, result.ftype(column), -1, -1, 0)
            for column in range(result.nfields)
        )  # fmt: skip
        yield _message(b"T", struct.pack("!H", result.nfields) + columns)
        for row in range(result.ntuples):
            cells = (result.get_value(row, column) for column in range(result.nfields))
            body = b"".join(map(_cell, cells))
            yield _message(b"D", struct.pack("!H", result.nfields) + body)
    yield _message(b"C", (result.command_status or b"") + b"\0")


class _Pooler(socketserver.BaseRequestHandler):
    session: "PGconn"
    free = threading.Lock()

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            while self._start_up_code() in (_SSL_REQUEST, _GSS_REQUEST):
                self.request.sendall(b"N")
            self._let_in()
            while (kind := self._exactly(1)) != b"X":
                body = self._exactly(struct.unpack("!I", self._exactly(4))[0] - 4)
                if kind == b"Q":
                    self._transaction(body)

    def _let_in(self) -> None:
        settings = b"".join(
            _message(b"S", name.encode() + b"\0" + (value or b"") + b"\0")
            for name in _PASSED_ON
            for value in [self.session.parameter_status(name.encode())]
        )
        key = _message(b"K", struct.pack("!II", next(_KEYS), 0))
        ready = _message(b"Z", b"I")
        self.request.sendall(_message(b"R", struct.pack("!I", 0)) + settings + key + ready)

    def _transaction(self, query: bytes) -> None:
        with self.free:
            self._answer(query)
            while self.session.transaction_status != pq.TransactionStatus.IDLE:
                kind = self._exactly(1)
                body = self._exactly(struct.unpack("!I", self._exactly(4))[0] - 4)
                if kind == b"X":
                    self.session.exec_(b"ROLLBACK")
                    raise ConnectionResetError
                self._answer(body)

    def _answer(self, query: bytes) -> None:
        self.session.send_query(query.rstrip(b"\0"))
        answer = b""
        while (result := self.session.get_result()) is not None:
            answer += b"".join(_told(result))
        idle = self.session.transaction_status == pq.TransactionStatus.IDLE
        self.request.sendall(answer + _message(b"Z", b"I" if idle else b"T"))

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


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def _serve() -> None:
    # Where the server is stands in the pod's environment.
    _Pooler.session = pq.PGconn.connect(b"")
    if _Pooler.session.status != pq.ConnStatus.OK:
        raise SystemExit(_Pooler.session.get_error_message())
    _Server(("", PORT), _Pooler).serve_forever()


def manifests(
    namespace: str, image: str, security: dict[str, Any], connection: dict[str, str]
) -> list[dict[str, Any]]:
    """A pod of the runner's `image` before the server of `connection`, and its Service."""
    labels = {"app.kubernetes.io/name": NAME}
    environment = {
        "PGHOST": connection["host"],
        "PGUSER": connection["username"],
        "PGPASSWORD": connection["password"],
        "PGDATABASE": connection["database"],
    }
    container = {
        "name": "pooler",
        "image": image,
        "command": ["python3", "-c"],
        "args": [Path(__file__).read_text(encoding="utf-8")],
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
        "securityContext": security,
    }
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": NAME, "namespace": namespace},
            "spec": {"selector": labels, "ports": [{"port": PORT}]},
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
                "containers": [container],
            },
        },
    ]


if __name__ == "__main__":
    _serve()
