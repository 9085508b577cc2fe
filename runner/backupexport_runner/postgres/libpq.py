"""Connects to the server through libpq, with SQLSTATEs and a time limit.

`psycopg.connect` has neither: of a failed connection libpq offers only text, and a name look-up or
a silent server can outlast its timeout.  libpq puts the SQLSTATE into that text ("FATAL:  28P01:
password authentication failed …") if PQsetErrorVerbosity asks for it before the server's answer is
read, so this module calls PQconnectPoll itself, on psycopg's binding of libpq
(https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PQCONNECTSTARTPARAMS).
"""

import contextlib
import ctypes
import os
import re
import select
import time
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from psycopg import Error, conninfo, pq

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn, PGresult

_PQERRORS_VERBOSE = 2
# Two spaces after the severity, in whatever language that is; psycopg takes a result's away.
_SQLSTATE = re.compile(r"(?:: {2}|^(?=.{5}: \S))([0-9A-Z]{5}): ")
_ANSWERS = (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK, pq.ExecStatus.SINGLE_TUPLE)
# Of an error's text; libpq takes a gigabyte.
_LONGEST_TEXT = 8 * 1024
# Each statement of ours asks for ten at most.
_MOST_ROWS = 10
_MOST_CHARACTERS = 16 * 1024
_LOCATION = re.compile(r"^[^\n]*: +\w+, \w+\.c:\d+$", re.MULTILINE)


class ServerError(Exception):
    """The server or libpq refuses; `sqlstates` has one for each attempt that got an answer."""

    def __init__(self, text: str) -> None:
        text = text[:_LONGEST_TEXT]
        self.sqlstates = _SQLSTATE.findall(text)
        words = _SQLSTATE.sub(": ", text).removeprefix(": ")
        self.text = _LOCATION.sub("", words).strip()
        super().__init__(self.text)


def parse_uri(text: str) -> dict[str, str]:
    """Returns the parts of a connection URI or keyword string by keyword.  Raises ValueError."""
    try:
        parts = conninfo.conninfo_to_dict(text)
    except (Error, UnicodeError):
        raise ValueError("libpq can't read it") from None
    return {keyword: str(value) for keyword, value in parts.items() if value is not None}


@contextlib.contextmanager
def connected(parameters: Mapping[str, str], seconds: float) -> Iterator["PGconn"]:
    """Yields an open connection.  Raises ServerError, also after `seconds`."""
    deadline = time.monotonic() + seconds
    # fsencode, because a value that isn't UTF-8 comes from the environment as surrogates.
    # Non-blocking, so libpq's own connect_timeout has no say here.
    connection = pq.PGconn.connect_start(os.fsencode(conninfo.make_conninfo("", **parameters)))
    try:
        _ask_for_sqlstate(connection)
        _finish_connecting(connection, deadline)
        yield connection
    finally:
        connection.finish()


def _finish_connecting(connection: "PGconn", deadline: float) -> None:
    # libpq's documentation asks for this before the first poll.
    wanted = select.POLLOUT
    while connection.status != pq.ConnStatus.BAD:
        _wait(connection, wanted, deadline)
        state = connection.connect_poll()
        if state == pq.PollingStatus.OK:
            return
        if state == pq.PollingStatus.FAILED:
            break
        wanted = select.POLLIN if state == pq.PollingStatus.READING else select.POLLOUT
    raise ServerError(connection.get_error_message("utf-8"))


def rows_of(connection: "PGconn", statements: str, seconds: float) -> list[list[str]]:
    """Returns the statements' rows, as text, with what can't be decoded replaced.

    Raises ServerError, also after `seconds` and for more than a few rows.  Where the server has
    refused a statement, the connection may be asked again.
    """
    deadline = time.monotonic() + seconds
    refused: ServerError | None = None
    try:
        connection.send_query(statements.encode())
        # Or libpq would store all of them first.
        connection.set_single_row_mode()
        rows: list[list[str]] = []
        while True:
            while connection.is_busy():
                _wait(connection, select.POLLIN, deadline)
                connection.consume_input()
            result = connection.get_result()
            if result is None:
                if refused is not None:
                    raise refused
                return rows
            if result.status == pq.ExecStatus.FATAL_ERROR:
                refused = refused or ServerError(result.get_error_message("utf-8"))
                continue
            rows += _rows(result)
            if len(rows) > _MOST_ROWS or sum(map(len, chain(*rows))) > _MOST_CHARACTERS:
                raise ServerError("the server's answer is too large")
    except Error as error:
        raise ServerError(str(error)) from None
    except MemoryError:
        raise ServerError("the server's answer is too large") from None


def _rows(result: "PGresult") -> list[list[str]]:
    # A COPY, above all, which would be told again and again until it is carried out.
    if result.status not in _ANSWERS:
        raise ServerError("the server's answer is none to the question")
    return [
        [
            (result.get_value(row, column) or b"").decode(errors="replace")
            for column in range(result.nfields)
        ]
        for row in range(result.ntuples)
    ]


def _wait(connection: "PGconn", wanted: int, deadline: float) -> None:
    poll = select.poll()
    poll.register(connection.socket, wanted)
    left = deadline - time.monotonic()
    if left <= 0 or not poll.poll(left * 1000):
        raise ServerError("timeout expired: the server did not answer in time")


def _ask_for_sqlstate(connection: "PGconn") -> None:
    # By PQsetErrorVerbosity, which psycopg doesn't bind, in the libpq that psycopg uses.  If that
    # can't be found, the text has no SQLSTATE and is read as English.
    pointer = getattr(connection, "pgconn_ptr", None)
    loaded = re.search(r"/\S*/libpq[-.]\S*", Path("/proc/self/maps").read_text(encoding="utf-8"))
    if loaded is None or pointer is None:
        return
    function = ctypes.CDLL(loaded[0]).PQsetErrorVerbosity
    function.argtypes = [ctypes.c_void_p, ctypes.c_int]
    function(pointer, _PQERRORS_VERBOSE)
