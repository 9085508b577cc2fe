"""Why pg_dump failed: from how it ended and what it wrote to stderr to exit code and advice.

pg_dump speaks English here (LC_ALL), but repeats the server's messages in the server's language
and without their SQLSTATE.  `preflight.find_obstacle` asks the catalogs about what no cause here
recognises, and `other_dump_failure` is for the rest.
"""

import re
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from backupexport_contract.reasons import ExitCode

from backupexport_runner.postgres.connection_failures import Cause, aside, cause_in_text
from backupexport_runner.task.failure import Failure

_DETAIL = "detail: Error message from server: "
# `aclcheck_error` in PostgreSQL's aclchk.c writes the kind of object and then its name as it is,
# unquoted and with whatever spaces it has, so the kinds of several words have to be known.
_KINDS_OF_SEVERAL_WORDS = (
    "event trigger|foreign-data wrapper|foreign server|foreign table|large object"
    "|materialized view|operator class|operator family|statistics object"
    "|text search configuration|text search dictionary"
)
_PERMISSION = re.compile(rf"permission denied for ({_KINDS_OF_SEVERAL_WORDS}|[a-z-]+) (.+)")
_ROW_SECURITY = re.compile(r'row-level security policy for table "(.+)"')
_NO_ROOM = Cause(
    ExitCode.STORAGE_FULL,
    "pg_dump has no room left: make room on the exports' volume, where the tar format needs that "
    "of the largest table beside the file, or export as sql",
    "could not generate temporary file|No space left on device",
)
_LOCKED = Cause(
    ExitCode.DUMP_FAILED,
    "pg_dump waited too long for a lock on a table: end the session that holds it, or start the "
    "export again at a calmer time",
    "canceling statement due to (?:statement|lock) timeout",
)
_LOST_CONNECTION = Cause(
    ExitCode.CONNECTION_FAILED,
    "The connection to the server was lost: check that the server runs and stays up, and start the "
    "export again",
    r"server closed the connection|terminating connection|could not connect"
    r"|connection to server .* failed|connection has been closed|no connection to the server"
    r"|Connection (?:refused|reset|timed out)|could not receive data from server"
    r"|could not send data to server|SSL SYSCALL error|lost synchronization"
    # Only what ends the session is FATAL; several languages keep the word.
    r"|message from server: FATAL"
    r"|database system is (?:shutting down|starting up|in recovery mode)",
)


@dataclass(frozen=True, slots=True)
class DumpEnd:
    """How pg_dump ended: its exit status (negative: a signal's number) and stderr's lines.

    `memory_kills` is how often the kernel has killed for memory in the container meanwhile.
    """

    exit_status: int
    lines: Sequence[str] = ()
    memory_kills: int = 0

    @property
    def text(self) -> str:
        """All of the lines."""
        return "\n".join(self.lines)

    @property
    def first_error(self) -> str:
        """The first line that is an error, else the first at all, without the program's name.

        If that only says that a call of libpq failed, the server's words follow, from a detail.
        """
        said = [line.removeprefix("pg_dump: ") for line in self.lines if line.strip()]
        errors = [line for line in said if line.startswith("error:")]
        first = (errors or said or [""])[0].removeprefix("error: ")
        details = (line.partition(_DETAIL)[2] for line in said if _DETAIL in line)
        detail = next(details, "")
        return f"{first.rstrip('.')}: {detail}" if detail else first


@dataclass(frozen=True, slots=True)
class Obstacle:
    """An object that the user can't read: its kind, and its name as SQL spells it."""

    kind: str
    name: str
    is_row_security: bool = False


def dump_failure(end: DumpEnd) -> Failure | None:
    """Returns the failure for the first of CAUSES that explains the end, None if none does."""
    return next(filter(None, (cause(end) for cause in CAUSES)), None)


def other_dump_failure(end: DumpEnd) -> Failure:
    """Returns DUMP_FAILED in pg_dump's own words, for what nothing else explains."""
    if "Query was: LOCK TABLE" in end.text:
        return _failure(end, _LOCKED)
    said = aside(end.first_error) or f"exit status {end.exit_status}, without a word"
    return Failure(
        ExitCode.DUMP_FAILED, f"pg_dump failed: {said}; see the runner's log for the rest."
    )


def permission_failure(obstacle: Obstacle) -> Failure:
    """Returns PERMISSION_DENIED, with the grant that is missing."""
    return Failure(ExitCode.PERMISSION_DENIED, f"{_permission_advice(obstacle)}.")


def _permission_advice(obstacle: Obstacle) -> str:
    what = aside(f"{obstacle.kind} {obstacle.name}")
    if obstacle.is_row_security:
        return (
            f"Row-level security hides rows of {what} from the user, and an export must be "
            "complete: give the user BYPASSRLS, or let the owner of the table export"
        )
    if obstacle.kind == "schema":
        return f"The user may not use {what}: grant the user pg_read_all_data or USAGE on it"
    if obstacle.kind == "large object":
        # pg_read_all_data doesn't cover them.
        return f"The user may not read {what}: grant the user SELECT on it, or export as its owner"
    return f"The user may not read {what}: grant the user pg_read_all_data or SELECT on it"


def _killed(end: DumpEnd) -> Failure | None:
    if end.exit_status != -signal.SIGKILL:
        return None
    cause = (
        "because the pod reached its memory limit"
        if end.memory_kills
        else "and the pod's memory limit may be the cause"
    )
    return Failure(
        ExitCode.KILLED,
        f"pg_dump was killed (SIGKILL), {cause}: raise resources.limits.memory on the "
        "ExportTarget.",
    )


def _crashed(end: DumpEnd) -> Failure | None:
    if end.exit_status >= 0:
        return None
    return Failure(
        ExitCode.DUMP_FAILED,
        f"pg_dump crashed ({signal.Signals(-end.exit_status).name}): start the export again, and "
        "see the runner's log.",
    )


def _permission_denied(end: DumpEnd) -> Failure | None:
    found = _PERMISSION.search(end.text)
    if found is None:
        return None
    kind, name = found[1], found[2]
    # `aclcheck_error_col` alone quotes: column "a" of relation "b".
    return permission_failure(Obstacle(kind, name if kind == "column" else _quoted(name)))


def _rows_hidden(end: DumpEnd) -> Failure | None:
    found = _ROW_SECURITY.search(end.text)
    return found and permission_failure(Obstacle("table", _quoted(found[1]), is_row_security=True))


def _version_mismatch(end: DumpEnd) -> Failure | None:
    if "server version mismatch" not in end.text:
        return None
    versions = next((line for line in end.lines if "server version:" in line), end.first_error)
    return Failure(
        ExitCode.SERVER_VERSION_UNSUPPORTED,
        "pg_dump doesn't support the server's version: use a runner.image with a pg_dump "
        f"that does ({aside(versions)}).",
    )


def _connection_lost(end: DumpEnd) -> Failure | None:
    if not re.search(_LOST_CONNECTION.words, end.text):
        return None
    # Words after the loss may say why the server takes no connection.
    return _failure(end, cause_in_text(end.text) or _LOST_CONNECTION)


def _said(cause: Cause) -> Callable[[DumpEnd], Failure | None]:
    """Returns a check for the words of the cause."""
    return lambda end: _failure(end, cause) if re.search(cause.words, end.text) else None


def _failure(end: DumpEnd, cause: Cause) -> Failure:
    return Failure(cause.exit_code, f"{cause.advice} ({aside(end.first_error)}).")


# In order: the first that explains the end.  A new cause is a function and a line.
CAUSES: tuple[Callable[[DumpEnd], Failure | None], ...] = (
    # The kernel killed it, most likely for its memory: whatever it said before is no reason.
    _killed,
    # Another signal ended it.
    _crashed,
    # The user lacks a privilege; before lost connections, for an error can end the session, too.
    _permission_denied,
    # A policy hides rows, and pg_dump refuses to dump a part of a table.
    _rows_hidden,
    # The server is newer than this pg_dump; `choose_client` has seen to it, unless it was replaced.
    _version_mismatch,
    # The tar format's spool, or the volume, is full.
    _said(_NO_ROOM),
    # Someone else holds a lock for longer than pg_dump waits.
    _said(_LOCKED),
    # Last, because its words come after many another error.
    _connection_lost,
)


def _quoted(name: str) -> str:
    """Returns the name as SQL spells it."""
    return '"' + name.replace('"', '""') + '"'
