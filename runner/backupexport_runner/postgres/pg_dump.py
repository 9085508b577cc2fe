"""pg_dump as a program: which of the installed ones fits, its command line and its process."""

import contextlib
import fcntl
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from backupexport_contract.reasons import ExitCode

from backupexport_runner.postgres.libpq_parameters import TCP_PARAMETERS
from backupexport_runner.task.failure import Failure

# Waiting for a lock also makes everybody behind it wait.
_LOCK_WAIT_MILLISECONDS = 120_000

_FORMAT = {"sql": "plain", "tar": "tar"}

# What an unprivileged process may ask for (/proc/sys/fs/pipe-max-size).
_PIPE_BYTES = 1024 * 1024
_KEPT_LINES = 40
_LONGEST_LINE = 2000
_VERSION_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Client:
    """A pg_dump program and its major version."""

    major: int
    program: Path


def installed_clients(root: Path) -> list[Client]:
    """Returns the programs at `<root>/<major>/bin/pg_dump`, where Debian and PGDG install them."""
    return [
        Client(int(program.parts[-3]), program)
        for program in root.glob("*/bin/pg_dump")
        # Before 10 a major version had two numbers (9.6); nothing that old is wanted here.
        if program.parts[-3].isdecimal()
    ]


def choose_client(clients: Iterable[Client], server_major: int, server_version: str) -> Client:
    """Returns the client of the server's own major version, else the lowest newer one.

    pg_dump refuses a server newer than itself, and what a newer pg_dump writes may not load
    into an older server (https://www.postgresql.org/docs/current/app-pgdump.html, Notes).
    Raises Failure(SERVER_VERSION_UNSUPPORTED) if every client is older.
    """
    by_age = sorted(clients, key=lambda client: client.major)
    if not by_age:
        raise Failure(
            ExitCode.INTERNAL, "The runner's image holds no pg_dump: use another runner.image."
        )
    for client in by_age:
        if client.major >= server_major:
            return client
    raise Failure(
        ExitCode.SERVER_VERSION_UNSUPPORTED,
        f"The server is PostgreSQL {server_version}, the newest pg_dump of the runner is "
        f"{by_age[-1].major}: use a runner.image that holds pg_dump {server_major}.",
    )


def dump_command(program: Path, dump_format: str) -> list[str]:
    """Returns the arguments, none of which comes from a request or a Secret.

    They keep everything that a restore of the whole database needs: owners, privileges, large
    objects (which pg_dump includes unless a schema or table is chosen), comments, publications and
    security labels (https://www.postgresql.org/docs/current/app-pgdump.html).  Text keeps the
    database's own encoding, because not every SQL_ASCII database could be converted.
    """
    tcp = " ".join(f"{keyword}={value}" for keyword, value in TCP_PARAMETERS.items())
    return [
        str(program),
        f"--format={_FORMAT[dump_format]}",
        "--no-password",
        f"--lock-wait-timeout={_LOCK_WAIT_MILLISECONDS}",
        # The database itself comes from PGDATABASE, where it can't be read as a URI.
        f"--dbname={tcp}",
    ]


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
        # A limit, because a "line" may hold a whole query or never end.
        while read := stream.readline(_LONGEST_LINE):
            line = read.decode(errors="replace").rstrip("\r\n")
            if len(self._first_lines) < _KEPT_LINES:
                self._first_lines.append(line)
                self._tell(line)
            else:
                self._last_lines.append(line)


@contextlib.contextmanager
def running_pg_dump(
    command: Sequence[str], environment: Mapping[str, str], tell: Callable[[str], None]
) -> Iterator[PgDump]:
    """Starts pg_dump; at the end of the context it is dead and reaped, whatever happened."""
    with subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            dump = PgDump(process, tell)
            with contextlib.suppress(OSError):
                fcntl.fcntl(dump.stdout, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
            yield dump
        finally:
            process.kill()


def dump_version(program: Path) -> str:
    """Returns for example "17.6", from `pg_dump (PostgreSQL) 17.6 (Debian 17.6-1)`."""
    try:
        said = subprocess.run(
            [program, "--version"],
            env={"LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            timeout=_VERSION_SECONDS,
        ).stdout.decode(errors="replace")
        return said.split()[2]
    except (OSError, subprocess.SubprocessError, IndexError) as error:
        raise Failure(
            ExitCode.INTERNAL,
            f"The runner's {program} doesn't run ({type(error).__name__}): use another "
            "runner.image.",
        ) from error
