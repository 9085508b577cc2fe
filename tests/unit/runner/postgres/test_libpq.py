"""A connection that never comes about, and what libpq then says of it."""

import socket

import pytest
from backupexport_runner.postgres import libpq
from odd_servers import drop_every_packet


def test_a_server_that_drops_packets_is_given_up_by_the_kernel() -> None:
    held = drop_every_packet(0)
    port = held[0].getsockname()[1]
    # Two retransmissions; it must be the kernel that gives up, so that libpq goes to the next host.
    parameters = {"host": "127.0.0.1", "port": str(port), "tcp_user_timeout": "1500"}
    try:
        with (
            pytest.raises(libpq.ServerError, match="Connection timed out"),
            libpq.connected({**parameters, "user": "u", "dbname": "d"}, 20),
        ):
            pass
    finally:
        for one in held:
            one.close()


def test_a_closed_port_refuses() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = str(unused.getsockname()[1])
        with (
            pytest.raises(libpq.ServerError, match="Connection refused"),
            libpq.connected({"host": "127.0.0.1", "port": port, "user": "u", "dbname": "d"}, 5),
        ):
            pass


def test_a_host_that_is_no_host_is_told_without_waiting() -> None:
    with (
        pytest.raises(libpq.ServerError, match="could not translate host name"),
        libpq.connected({"host": "no.such.invalid", "user": "u", "dbname": "d"}, 20),
    ):
        pass


@pytest.mark.parametrize(
    ("text", "sqlstates", "words"),
    [
        ("FATAL:  28P01: no\nLOCATION:  auth_failed, auth.c:326", ["28P01"], "FATAL: no"),
        ("connection to x failed: FEHLER:  57P03: nein", ["57P03"], "connection to x failed: "
         "FEHLER: nein"),
        # As psycopg tells a result's.
        ("42501: permission denied\nLOCATION:  aclcheck_error, aclchk.c:2843", ["42501"],
         "permission denied"),
        ("FATAL:  no", [], "FATAL:  no"),
        ("ERROR:  no", [], "ERROR:  no"),
    ],
)  # fmt: skip
def test_what_an_error_tells(text: str, sqlstates: list[str], words: str) -> None:
    error = libpq.ServerError(text)
    assert (error.sqlstates, error.text) == (sqlstates, words)
