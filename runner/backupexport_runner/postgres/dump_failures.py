"""Why pg_dump failed: its stderr and its end → exit code and what to do.

pg_dump speaks English here (LC_ALL), but repeats the server's messages in the server's
language and without their SQLSTATE.  What this module can't read, `preflight` asks the
server's catalogs about.
"""

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass

from backupexport_contract.reasons import EXIT_OUT_OF_MEMORY, ExitCode

from backupexport_runner.postgres.connection_failures import aside, cause_in_text
from backupexport_runner.task.failure import Failure

_READ_GRANT = "grant the user pg_read_all_data or SELECT on it"

# What a role lacks: the kind of object and its name, as the server's English has them.
_PERMISSION = re.compile(r"permission denied for ([a-z][a-z -]*[a-z]) (.+)")
_ROW_SECURITY = re.compile(r"row-level security policy for table (.+)")
_DETAIL = "detail: Error message from server: "
_LOST = re.compile(
    r"server closed the connection|terminating connection|could not connect"
    r"|connection to server .* failed|connection has been closed|no connection to the server"
    r"|Connection (?:refused|reset|timed out)|could not receive data from server"
    r"|could not send data to server|SSL SYSCALL error|lost synchronization"
    # Only what ends the session is FATAL; several languages keep the word.
    r"|message from server: FATAL"
    r"|database system is (?:shutting down|starting up|in recovery mode)"
)


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Something that the server's catalogs say the user can't read."""

    kind: str
    name: str
    is_row_security: bool = False


def permission_failure(obstacle: Obstacle, detail: str = "") -> Failure:
    """PERMISSION_DENIED, with the grant that is missing."""
    what = f"{obstacle.kind} {obstacle.name}"
    if obstacle.is_row_security:
        sentence = (
            f"Row-level security hides rows of {what} from the user, and an export must be "
            "complete: give the user BYPASSRLS, or let the owner of the table export"
        )
    elif obstacle.kind == "schema":
        sentence = f"The user may not use {what}: grant the user pg_read_all_data or USAGE on it"
    elif obstacle.kind == "large object":
        sentence = (
            # pg_read_all_data doesn't cover them.
            f"The user may not read {what}: grant the user SELECT on it, or export as its owner"
        )
    else:
        sentence = f"The user may not read {what}: {_READ_GRANT}"
    return Failure(ExitCode.PERMISSION_DENIED, f"{sentence}{detail}.")


def killed_failure(signal_number: int, memory_kills: int) -> Failure:
    """The verdict on a pg_dump that a signal ended, though nobody asked for it."""
    name = signal.Signals(signal_number).name
    if signal_number != signal.SIGKILL:
        return Failure(
            ExitCode.DUMP_FAILED,
            f"pg_dump crashed ({name}): start the export again, and see the runner's log.",
        )
    cause = (
        "because the pod reached its memory limit"
        if memory_kills
        else "and the pod's memory limit may be the cause"
    )
    return Failure(
        EXIT_OUT_OF_MEMORY,
        f"pg_dump was killed ({name}), {cause}: raise resources.limits.memory on the ExportTarget.",
    )


def read_dump_errors(lines: Sequence[str]) -> Failure | None:
    """The verdict that pg_dump's English allows, or None."""
    text = "\n".join(lines)
    detail = f" ({aside(first_error(lines))})"
    if permission := _PERMISSION.search(text):
        return permission_failure(Obstacle(permission[1], _quoted(permission[2])))
    if row_security := _ROW_SECURITY.search(text):
        return permission_failure(Obstacle("table", _quoted(row_security[1]), is_row_security=True))
    if "server version mismatch" in text:
        return Failure(
            ExitCode.SERVER_VERSION_UNSUPPORTED,
            "pg_dump doesn't support the server's version: use a runner.image with a pg_dump "
            f"that does ({aside(_versions(lines))}).",
        )
    if "could not generate temporary file" in text or "No space left on device" in text:
        return Failure(
            ExitCode.STORAGE_FULL,
            "pg_dump has no room left: make room on the exports' volume, where the tar format "
            f"needs that of the largest table beside the file, or export as sql{detail}.",
        )
    if re.search("canceling statement due to (?:statement|lock) timeout", text):
        return _lock_failure(detail)
    if _LOST.search(text):
        verdict = cause_in_text(text)
        exit_code, advice = verdict or (
            ExitCode.CONNECTION_FAILED,
            "The connection to the server was lost: check that the server runs and stays up, "
            "and start the export again",
        )
        return Failure(exit_code, f"{advice}{detail}.")
    return None


def other_dump_failure(lines: Sequence[str], exit_status: int) -> Failure:
    """DUMP_FAILED in pg_dump's own words, for what nothing else explains."""
    if any("Query was: LOCK TABLE" in line for line in lines):
        return _lock_failure(f" ({aside(first_error(lines))})")
    said = aside(first_error(lines)) or f"exit status {exit_status}, without a word"
    return Failure(
        ExitCode.DUMP_FAILED, f"pg_dump failed: {said}; see the runner's log for the rest."
    )


def _lock_failure(detail: str) -> Failure:
    return Failure(
        ExitCode.DUMP_FAILED,
        "pg_dump waited too long for a lock on a table: end the session that holds it, or start "
        f"the export again at a calmer time{detail}.",
    )


def first_error(lines: Sequence[str]) -> str:
    """The first line that is an error, without the program's name, else the first at all.

    Where that only says that a call of libpq failed, the server's words are in a detail.
    """
    said = [line.removeprefix("pg_dump: ") for line in lines if line.strip()]
    errors = [line for line in said if line.startswith("error:")]
    first = (errors or said or [""])[0].removeprefix("error: ")
    details = (line.partition(_DETAIL)[2] for line in said if _DETAIL in line)
    detail = next(details, "")
    return f"{first.rstrip('.')}: {detail}" if detail else first


def _quoted(name: str) -> str:
    """A name as messages have it, which may have quotes already."""
    return f'"{name.strip().strip(chr(34))}"'


def _versions(lines: Sequence[str]) -> str:
    return next((line for line in lines if "server version:" in line), first_error(lines))
