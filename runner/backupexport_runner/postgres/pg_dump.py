"""pg_dump as a program: its command line and its process."""

import contextlib
import fcntl
import os
import re
import resource
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO

from backupexport_contract.runner_protocol import Selection

from backupexport_runner.postgres.clients import Client
from backupexport_runner.postgres.libpq_parameters import TCP_PARAMETERS

# Waiting for a lock also makes everybody behind it wait.
_LOCK_WAIT_MILLISECONDS = 120_000

_FORMAT = {"sql": "plain", "tar": "tar", "custom": "custom"}
_CONTENT = {"all": [], "schema": ["--schema-only"], "data": ["--data-only"]}
# The levels of zstd and gzip, as in `export.compression`; older clients know gzip alone.
_INSIDE = {"zstd": "zstd:1", "gzip": "gzip:1", "none": "none"}
_INSIDE_BEFORE_16 = {"gzip": "1", "none": "0"}

# An include would reach them, as `*` does: pg_authid has the passwords of all roles of the server,
# whoever has pg_read_all_data reads it, and no restore could make these schemas again.
_SCHEMAS_OF_POSTGRESQL = ("pg_*", "information_schema")

_ZSTD_SINCE = 16
_CHILDREN_SINCE = 16

# What an unprivileged process may ask for (/proc/sys/fs/pipe-max-size).
_PIPE_BYTES = 1024 * 1024
_KEPT_LINES = 40
_LONGEST_LINE = 2000


def inner_compression(compression: str, client_major: int) -> str:
    """Returns how a custom archive is compressed by such a client, of `none`, `zstd`, `gzip`.

    pg_dump can do zstd since 16 (https://www.postgresql.org/docs/16/release-16.html).
    """
    return "gzip" if compression == "zstd" and client_major < _ZSTD_SINCE else compression


def reaches_partitions(client: Client) -> bool:
    """Returns whether a pattern for a table reaches its partitions and heirs, too.

    pg_dump has options for that since 16 (https://www.postgresql.org/docs/16/release-16.html).
    """
    return client.major >= _CHILDREN_SINCE


def dump_command(
    client: Client,
    dump_format: str,
    compression: str,
    selection: Selection,
    encoding: str = "UTF8",
) -> list[str]:
    """Returns the arguments, of which only patterns come from a request, each behind its option.

    The server takes them for text in `encoding`, that of the session by PostgreSQL's name.

    They keep everything that a restore of the whole database needs: owners, privileges, large
    objects (which pg_dump includes unless a schema or table is chosen), comments, publications and
    security labels (https://www.postgresql.org/docs/current/app-pgdump.html).  Text keeps the
    database's own encoding, because not every SQL_ASCII database could be converted.
    """
    excluded_schemas = selection.exclude_schemas
    if selection.is_chosen:
        excluded_schemas += _SCHEMAS_OF_POSTGRESQL
    # Who names a table means its rows, wherever they are stored.
    all_of_it = "-and-children" if reaches_partitions(client) else ""
    patterns = [
        ("schema", selection.include_schemas),
        ("exclude-schema", excluded_schemas),
        (f"table{all_of_it}", selection.include_tables),
        (f"exclude-table{all_of_it}", selection.exclude_tables),
        (f"exclude-table-data{all_of_it}", selection.exclude_table_data),
    ]
    if selection.include_tables:
        # pg_dump takes a table that is asked for by name out of an excluded schema, too.
        patterns.append(("exclude-table", tuple(f"{schema}.*" for schema in excluded_schemas)))
    tcp = " ".join(f"{keyword}={value}" for keyword, value in TCP_PARAMETERS.items())
    return [
        str(client.program),
        f"--format={_FORMAT[dump_format]}",
        *(_inside(compression, client.major) if dump_format == "custom" else []),
        "--no-password",
        f"--lock-wait-timeout={_LOCK_WAIT_MILLISECONDS}",
        *_CONTENT[selection.content],
        # What is asked for and not there is no export of it.
        "--strict-names",
        *(
            f"--{option}={_in_encoding(each, encoding)}"
            for option, listed in patterns
            for each in listed
        ),
        # An archive keeps the owners; pg_restore has an option of the same name.
        *([] if selection.owner else ["--no-owner"]),
        *([] if selection.privileges else ["--no-privileges"]),
        # The database itself comes from PGDATABASE, where it can't be read as a URI.
        f"--dbname={tcp}",
    ]


def _in_encoding(pattern: str, encoding: str) -> str:
    """Returns an argument of the bytes that the pattern has in an encoding of PostgreSQL's."""
    # Python knows the others by the same names, but for what it doesn't know, as SQL_ASCII: there
    # bytes go as they come.
    codec = re.sub("^WIN", "cp", re.sub("^KOI8", "koi8_", encoding)).replace("EUC_CN", "gb2312")
    try:
        return os.fsdecode(pattern.encode(codec))
    except (LookupError, UnicodeEncodeError):
        return pattern


def _inside(compression: str, client_major: int) -> list[str]:
    compression = inner_compression(compression, client_major)
    table = _INSIDE if client_major >= _ZSTD_SINCE else _INSIDE_BEFORE_16
    return [f"--compress={table[compression]}"]


class PgDump:
    """A running pg_dump; use it within `running_pg_dump`.

    Of stderr the first lines are passed to `tell` at once, and the last ones at the end.
    """

    def __init__(self, process: subprocess.Popen[bytes], tell: Callable[[str], None]) -> None:
        self.process = process
        self._tell = tell
        self._first_lines: list[str] = []
        self._last_lines: deque[str] = deque(maxlen=_KEPT_LINES)
        if process.stdout is None or process.stderr is None:
            raise AssertionError("both are pipes")
        self.stdout = process.stdout.fileno()
        self._reader = threading.Thread(
            target=self._read, args=(process.stderr,), name="stderr", daemon=True
        )
        self._reader.start()

    def wait(self) -> tuple[int, list[str]]:
        """Waits for the end; returns the exit status (negative: a signal) and stderr's lines."""
        status = self.process.wait()
        self._reader.join()
        for line in self._last_lines:
            self._tell(line)
        return status, [*self._first_lines, *self._last_lines]

    def _read(self, stream: IO[bytes]) -> None:
        # A limit, because a "line" may hold a whole query or never end.  The rest of such a line is
        # dropped: a secret that lies across two pieces would be in neither as a whole.
        is_rest = False
        while read := stream.readline(_LONGEST_LINE):
            is_cut = not read.endswith(b"\n") and len(read) == _LONGEST_LINE
            was_rest, is_rest = is_rest, is_cut
            if was_rest:
                continue
            line = read.decode(errors="replace").rstrip("\r\n") + ("…" if is_cut else "")
            if len(self._first_lines) < _KEPT_LINES:
                self._first_lines.append(line)
                self._tell(line)
            else:
                self._last_lines.append(line)


@contextlib.contextmanager
def running_pg_dump(
    command: Sequence[str],
    environment: Mapping[str, str],
    tell: Callable[[str], None],
    largest_file: int | None = None,
) -> Iterator[PgDump]:
    """Starts pg_dump; at the end of the context it is dead and reaped, whatever happened.

    SIGXFSZ ends it where it makes a file of its own that is larger than `largest_file`, in bytes.
    """
    with subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            # It has yet to log in before it makes a file.
            _limit(process.pid, resource.RLIMIT_FSIZE, largest_file)
            # SIGXFSZ leaves a core otherwise, with a password in it.
            _limit(process.pid, resource.RLIMIT_CORE, 0)
            dump = PgDump(process, tell)
            with contextlib.suppress(OSError):
                fcntl.fcntl(dump.stdout, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
            yield dump
        finally:
            process.kill()


def _limit(process_id: int, kind: int, most: int | None) -> None:
    if most is not None:
        resource.prlimit(process_id, kind, (most, most))


def peak_memory() -> dict[str, int]:
    """Returns the most bytes that this process, and the largest child that has ended, have had.

    A child's are never less than what this process had when it started the child (execve(2)).
    """
    return {
        name: resource.getrusage(whose).ru_maxrss * 1024
        for name, whose in (
            ("runner_peak_bytes", resource.RUSAGE_SELF),
            ("pg_dump_peak_bytes", resource.RUSAGE_CHILDREN),
        )
    }
