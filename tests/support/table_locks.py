"""A table that is locked, so that a dump of it waits for as long as a test wants it to."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from playground.postgres import Postgres
from playground.tools import environment, wait_for

_SESSIONS = "FROM pg_stat_activity WHERE"


@contextmanager
def locked(server: Postgres, database: str, table: str) -> Iterator[None]:
    """Hold `table` so that not even a reader gets it; it is free again after the context."""
    holder = f"lock of {database}.{table}"
    process = subprocess.Popen(
        [*server.exec_prefix(), "env", f"PGAPPNAME={holder}", "psql", "-X", "-q", "-d", database],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment(),
    )
    if process.stdin is None:
        raise AssertionError("it is a pipe")
    try:
        process.stdin.write(f"BEGIN; LOCK TABLE {table};\n")
        process.stdin.flush()
        held = f"application_name = '{holder}' AND state = 'idle in transaction'"
        wait_for(lambda: _sessions(server, held), f"the {holder}", 120)
        yield
    finally:
        # Not by closing its stdin, which a busy node may learn of much later.
        server.psql(f"SELECT pg_terminate_backend(pid) {_SESSIONS} application_name = '{holder}'")
        process.kill()
        process.communicate()


def wait_until_blocked(server: Postgres, job_id: str, seconds: float = 300) -> None:
    """Wait until the dump of a job waits for a lock."""
    waiting = f"application_name = 'backupexport {job_id}' AND wait_event_type = 'Lock'"
    wait_for(lambda: _sessions(server, waiting), f"job {job_id} at a lock", seconds)


def _sessions(server: Postgres, condition: str) -> bool:
    return server.psql(f"SELECT count(*) {_SESSIONS} {condition}") != "0"
