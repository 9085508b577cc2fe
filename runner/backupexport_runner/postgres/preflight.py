"""Asks the server what an export has to know of it before the dump, and what failed after it."""

import contextlib
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from backupexport_contract.reasons import ExitCode

from backupexport_runner.postgres import libpq, statements
from backupexport_runner.postgres.catalogs import Catalogs, look
from backupexport_runner.postgres.connection_failures import connection_failure
from backupexport_runner.postgres.dump_failures import Obstacle
from backupexport_runner.postgres.libpq_parameters import CONNECT_SECONDS, session_parameters
from backupexport_runner.task.failure import Failure

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn

# A little more than the server's own statement_timeout, for a server that stopped altogether.
_ANSWER_SECONDS = statements.QUERY_SECONDS + 2

# From the first name look-up to the last row of the catalogs.
_MOST_SECONDS = 18

# The kernel gives up an address that swallows packets after 4 seconds, and libpq tries the next.
_GIVE_UP = {"tcp_user_timeout": "4000"}
# For a second connection through a pooler, which may have no server's connection left.
_POOLER_SECONDS = 2
_POOLER_ROUNDS = 3
_LARGEST_SIZE = 2**63 - 1

# Bytes of a plain dump for each byte on the server's disk.  A row loses its header and padding
# and gains in digits (measured: 0.98 for wide rows with uuids and JSON, 0.35 for two integers);
# what lies in TOAST is compressed there; large objects become hexadecimal digits.
_OF_HEAP = 0.85
_OF_TOAST = 2.0
_OF_LARGE_OBJECTS = 2.0
_LEAST_ESTIMATE = 64 * 1024


@dataclass(frozen=True, slots=True)
class Server:
    """The server's version (170006, "17.6"), and the dump's estimated size, 0 if unknown.

    `session` has libpq's keywords for the session that a dump needs there, `catalogs` what there is
    beside tables, as far as it could be read.
    """

    version_number: int
    version: str
    estimated_bytes: int
    session: Mapping[str, str] = field(default_factory=dict)
    catalogs: Catalogs = field(default_factory=Catalogs)

    @property
    def major(self) -> int:
        """The major version, for example 17 (9 for every 9.x)."""
        return self.version_number // 10000


def look_at_server(parameters: Mapping[str, str]) -> Server:
    """Returns what is known of the server.

    Raises Failure if it can't connect, or only through a pooler whose sessions end with each
    transaction: pg_dump needs one, and what it sets there would reach other people's connections.
    """
    until = time.monotonic() + _MOST_SECONDS
    with _connected(parameters) as connection:
        # Without the packager's remark, and no words at all.
        said = connection.parameter_status(b"server_version") or b""
        version = re.match(rb"[0-9A-Za-z.]{0,40}", said)
        session = _session(connection, parameters)
        return Server(
            connection.server_version,
            version[0].decode() if version else "",
            estimated_dump_bytes(*_sizes(connection)),
            session,
            _catalogs(connection, min(until, time.monotonic() + _ANSWER_SECONDS)),
        )


def estimated_dump_bytes(heap: int = 0, toast: int = 0, large_objects: int = 0) -> int:
    """Returns the bytes of a plain dump, from bytes on the server's disk; 0 if all are unknown."""
    if not (heap or toast or large_objects):
        return 0
    guess = heap * _OF_HEAP + toast * _OF_TOAST + large_objects * _OF_LARGE_OBJECTS
    return max(_LEAST_ESTIMATE, int(guess))


def find_obstacle(parameters: Mapping[str, str]) -> Obstacle | None:
    """Returns the first object that the user can't read, from the server's catalogs.

    Raises Failure if it can't connect any more, which then is what ended the dump.
    """
    with _connected(parameters) as connection:
        try:
            [(kind, name, hidden)] = _asked(connection, statements.OBSTACLES, _ANSWER_SECONDS)
        except (libpq.ServerError, ValueError):
            return None
    return Obstacle(kind, name, hidden == "t")


@contextlib.contextmanager
def _connected(parameters: Mapping[str, str]) -> Iterator["PGconn"]:
    try:
        with libpq.connected({**parameters, **_GIVE_UP}, CONNECT_SECONDS) as connection:
            yield connection
    except libpq.ServerError as error:
        raise connection_failure(error.sqlstates, error.text) from None


@dataclass(frozen=True, slots=True)
class _Answered:
    """Who answers on a connection: the database's encoding, the session, the server's own port."""

    encoding: str
    session: tuple[str, str]
    port: str


def _session(connection: "PGconn", parameters: Mapping[str, str]) -> dict[str, str]:
    try:
        answered = _who_answers(connection, _ANSWER_SECONDS)
    except (libpq.ServerError, ValueError):
        return {}
    # A pooler has keys of its own for canceling, with numbers that are no process's.
    is_direct = answered.session[0] == str(connection.backend_pid)
    if not is_direct and _is_shared(connection, parameters):
        is_port = re.fullmatch("[0-9]{1,5}", answered.port)
        own = f" (its own port is {answered.port})" if is_port else ""
        raise Failure(
            ExitCode.SECRET_INVALID,
            "The target leads to a pooler in transaction mode, where no session lasts: give it "
            f"host and port of the server itself{own}, or of a pool in session mode.",
        )
    major = connection.server_version // 10000
    return session_parameters(answered.encoding, major, is_direct=is_direct)


def _is_shared(connection: "PGconn", parameters: Mapping[str, str]) -> bool:
    """Returns whether a second connection gets the first one's session, or either gets several.

    Nothing is set for that, since it would stay in others' sessions; and a pooler without many
    clients gives the same connection the same session again and again.
    """
    with contextlib.suppress(libpq.ServerError, ValueError):
        limited = {**parameters, **_GIVE_UP}
        with libpq.connected(limited, _POOLER_SECONDS) as second:
            rounds = [
                (_who_answers(connection).session, _who_answers(second).session)
                for _ in range(_POOLER_ROUNDS)
            ]
        first, other = (set(seen) for seen in zip(*rounds, strict=True))
        return bool(first & other) or len(first) > 1 or len(other) > 1
    return False


def _who_answers(connection: "PGconn", seconds: float = _POOLER_SECONDS) -> _Answered:
    message = statements.message(statements.SESSION)
    [(encoding, pid, started, port)] = libpq.rows_of(connection, message, seconds)
    return _Answered(encoding, (pid, started), port)


def _sizes(connection: "PGconn") -> tuple[int, int, int]:
    # Only the percentage needs them; the dump may well succeed.
    try:
        [(heap, toast, large_objects)] = _asked(connection, statements.SIZES, _ANSWER_SECONDS)
        sizes = int(heap), int(toast), int(large_objects)
    except (libpq.ServerError, ValueError):
        return 0, 0, 0
    return sizes if all(0 <= size <= _LARGEST_SIZE for size in sizes) else (0, 0, 0)


def _catalogs(connection: "PGconn", until: float) -> Catalogs:
    def ask(query: str) -> list[list[str]]:
        left = until - time.monotonic()
        if left <= 0:
            raise libpq.ServerError("the server did not answer in time")
        return _asked(connection, query, left)

    return look(ask)


def _asked(connection: "PGconn", query: str, seconds: float) -> list[list[str]]:
    until = time.monotonic() + seconds
    try:
        return libpq.rows_of(connection, statements.message(query), seconds)
    except libpq.ServerError:
        # Or the next one would find the transaction that failed.
        with contextlib.suppress(libpq.ServerError):
            libpq.rows_of(connection, statements.rollback(), until - time.monotonic())
        raise
