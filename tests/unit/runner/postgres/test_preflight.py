"""What the preflight makes of the server's answers."""

import itertools
import struct
from collections.abc import Iterator
from typing import ClassVar

import pytest
from backupexport_contract.reasons import ExitCode
from backupexport_runner.postgres import preflight
from backupexport_runner.postgres.preflight import Server, estimated_dump_bytes, look_at_server
from backupexport_runner.task.failure import Failure
from hostile_server import (
    AUTHENTICATED,
    READY,
    Hostile,
    description,
    listening,
    message,
    parameter,
    row_of,
)

_KEYS: Iterator[int] = itertools.count(1000)


class Direct(Hostile):
    """Each connection is a session, whose process is the one in the key for canceling."""

    encoding: ClassVar[bytes] = b"LATIN1"
    port: ClassVar[bytes] = b"5432"

    def let_in(self) -> None:
        self.key = next(_KEYS)
        named = {"server_version": "17.6", "client_encoding": "UTF8"}
        settings = b"".join(parameter(name, value) for name, value in named.items())
        key = message(b"K", struct.pack("!II", self.key, 0))
        self.request.sendall(AUTHENTICATED + settings + key + READY)

    def process(self) -> int:
        return self.key

    def answer(self, question: bytes) -> None:
        if b"pg_backend_pid" not in question:
            super().answer(question)
            return
        row = row_of(self.encoding, str(self.process()).encode(), b"2026-01-29 15:30:00", self.port)
        self.request.sendall(description(4) + row + message(b"C", b"SELECT 1\0") + READY)


class SessionPool(Direct):
    def process(self) -> int:
        return self.key + 100_000


class TransactionPool(Direct):
    """As PgBouncer with few clients: every transaction gets the same session."""

    def process(self) -> int:
        return 7


class OddPool(TransactionPool):
    port = b"9" * 5000


class BusyTransactionPool(Direct):
    """Others are always quicker: every transaction gets another session."""

    def process(self) -> int:
        return next(_KEYS) + 200_000


class OnlyOneConnection(SessionPool):
    """A pool with nothing left for a second connection."""

    first: ClassVar[list[int]] = []

    def let_in(self) -> None:
        if self.first:
            refusal = b"SFATAL\0VFATAL\0C08P01\0Mno more connections allowed\0\0"
            self.request.sendall(message(b"E", refusal))
            raise ConnectionResetError
        self.first.append(1)
        super().let_in()


class OddEncoding(Direct):
    encoding = b"UTF8' options='-c role=postgres"


def _look(port: int) -> Server:
    return look_at_server(
        {"host": "127.0.0.1", "port": str(port), "user": "u", "dbname": "d", "sslmode": "disable"}
    )


def test_a_direct_connection_gets_every_setting_of_a_dumps_session() -> None:
    with listening(Direct) as port:
        session = _look(port).session
    assert session["client_encoding"] == "LATIN1"
    options = session["options"].split(" -c ")
    assert {
        "-c role=none",
        'search_path="$user",public',
        "statement_timeout=0",
        "transaction_timeout=0",
        r"default_transaction_isolation=read\ committed",
    } <= set(options)


@pytest.mark.parametrize("pool", [SessionPool, OnlyOneConnection])
def test_a_pool_of_sessions_is_taken_without_settings_that_it_refuses(pool: type[Hostile]) -> None:
    with listening(pool) as port:
        assert _look(port).session == {"client_encoding": "LATIN1"}


@pytest.mark.parametrize("pool", [TransactionPool, BusyTransactionPool])
def test_a_pool_of_transactions_is_refused(pool: type[Hostile]) -> None:
    with listening(pool) as port, pytest.raises(Failure) as refused:
        _look(port)
    assert refused.value.exit_code == ExitCode.SECRET_INVALID
    assert "pooler in transaction mode" in refused.value.message
    assert "the server itself (its own port is 5432)" in refused.value.message


def test_a_port_that_is_none_is_not_told() -> None:
    with listening(OddPool) as port, pytest.raises(Failure) as refused:
        _look(port)
    assert "of the server itself, or of a pool" in refused.value.message


def test_an_encoding_that_is_none_is_no_setting() -> None:
    with listening(OddEncoding) as port:
        assert "client_encoding" not in _look(port).session


def test_a_server_that_cannot_say_who_answers_gets_no_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(preflight, "_ANSWER_SECONDS", 1)
    with listening(Hostile) as port:
        assert _look(port).session == {}


@pytest.mark.parametrize(("number", "major"), [(170006, 17), (90624, 9), (150018, 15)])
def test_the_major_version(number: int, major: int) -> None:
    assert Server(number, "", 0).major == major


def test_the_estimate() -> None:
    assert estimated_dump_bytes() == 0
    assert estimated_dump_bytes(1, 0, 0) == 64 * 1024
    assert estimated_dump_bytes(10**9, 10**8, 10**8) == int(0.85e9 + 0.4e9)
