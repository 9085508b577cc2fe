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
from backupexport_runner.task.failure import Failure, one_line

_DETAIL = "detail: Error message from server: "
_LONGEST_PATTERN = 255
# `aclcheck_error` in PostgreSQL's aclchk.c writes the kind of object and then its name as it is,
# unquoted and with whatever spaces it has, so the kinds of several words have to be known.
_KINDS_OF_SEVERAL_WORDS = (
    "event trigger|foreign-data wrapper|foreign server|foreign table|large object"
    "|materialized view|operator class|operator family|statistics object"
    "|text search configuration|text search dictionary"
)
_PERMISSION = re.compile(rf"permission denied for ({_KINDS_OF_SEVERAL_WORDS}|[a-z-]+) (.+)")
_ROW_SECURITY = re.compile(r'row-level security policy for table "(.+)"')
# What a server says in English comes after one of these.
_SERVER = "(?:ERROR|FATAL|PANIC): +"
_WRONG_PATTERN = Cause(
    ExitCode.DUMP_REFUSED,
    "The export's patterns don't fit the database: correct the one that is named",
    r"error: no matching [a-z ]+ were found"
    r"|error: improper [a-z]+ name \(too many dotted names\)"
    r"|error: cross-database references are not implemented",
)
_BAD_EXPRESSION = re.compile(rf"{_SERVER}invalid regular expression: .*")
_EXPRESSION_ASKED_FOR = re.compile(r"OPERATOR\(pg_catalog\.~\) E?'\^\((.*)\)\$'")
_FOREIGN_SERVER = Cause(
    ExitCode.DUMP_FAILED,
    "Another server whose tables this database shows can't be reached from it: check that server, "
    "or leave the data of its tables out with exclude_table_data",
    # postgres_fdw and dblink; a wrapper of other databases says it in these words, too.
    rf'{_SERVER}could not (?:connect to server "|establish connection|connect to \w+ server)'
    rf"|{_SERVER}(?:failed to connect to|could not connect to foreign)",
)
_SERVER_DISK_FULL = Cause(
    ExitCode.DUMP_FAILED,
    "The server's own disk is full: make room there",
    rf"{_SERVER}.*No space left on device",
)
_NO_ROOM = Cause(
    ExitCode.STORAGE_FULL,
    "pg_dump has no room left: make room on the exports' volume, where the tar format needs that "
    "of the largest table beside the file, or export as sql",
    "could not generate temporary file|No space left on device",
)
_VOLUME_AWAY = Cause(
    ExitCode.STORAGE_FALTERING,
    "The exports' volume, where pg_dump keeps a table of the tar format for a while, fails, and is "
    "tried again by itself: if that doesn't help, check its server and the network to it",
    r"error: could not (?:read|write|open|close|seek)(?!.*(?:ERROR|FATAL): ).*"
    r": (?:Input/output error|Stale file handle|Connection timed out"
    r"|Transport endpoint is not connected|Remote I/O error|Host is down|No route to host"
    r"|Resource temporarily unavailable|Device or resource busy|No such device)",
)
_TOO_MANY_LOCKS = Cause(
    # Each attempt takes the locks that the server's other clients need, too.
    ExitCode.DUMP_REFUSED,
    "The server has no room for a lock on every table: raise its max_locks_per_transaction (times "
    "max_connections, at least the number of tables) and restart it",
    # A setting's name stands in every language.
    "max_locks_per_transaction",
)
_LOCKED = Cause(
    ExitCode.DUMP_FAILED,
    "pg_dump waited too long for a lock on a table: end the session that holds it, or start the "
    "export again at a calmer time",
    f"canceling statement due to (?:statement|lock) timeout|{_SERVER}deadlock detected",
)
_RECOVERY_CONFLICT = Cause(
    ExitCode.DUMP_FAILED,
    "The standby ended the dump to go on with its recovery: raise its max_standby_streaming_delay, "
    "turn its hot_standby_feedback on, or export from the primary",
    "due to conflict with recovery",
)
_TIME_LIMIT = Cause(
    ExitCode.DUMP_REFUSED,
    "The server, or a pooler before it, ends sessions that last as long as this dump: lift that "
    "limit for the user",
    rf"{_SERVER}(?:terminating connection due to (?:idle-in-transaction|transaction|idle-session)"
    r" timeout|query timeout|idle transaction timeout|client_idle_timeout)",
)
_CANCELED = Cause(
    ExitCode.DUMP_FAILED,
    "Somebody canceled the dump's statement on the server: let it run, or start the export again "
    "later",
    "canceling statement due to user request",
)
_ENCODING = Cause(
    ExitCode.DUMP_REFUSED,
    "The database holds text that can't be converted from its encoding: correct that text, which "
    "the bytes tell",
    # The bytes and the encoding's name, whatever the language.
    r"\b0x[0-9a-f]{2}(?: 0x[0-9a-f]{2})*\b.*\b(?:UTF8|LATIN\d+|WIN\d+|EUC_\w+|ISO_8859_\d|KOI8\w"
    r"|SJIS|BIG5|GBK|GB18030|UHC|JOHAB|MULE_INTERNAL|SQL_ASCII)\b"
    rf"|{_SERVER}invalid byte sequence for encoding",
)
_LIBRARY = Cause(
    ExitCode.DUMP_REFUSED,
    "The server lacks the library of an extension: install that extension's package on the server, "
    "in the version that the database has, or drop the extension",
    rf"\$libdir/|{_SERVER}(?:could not (?:load library|find function .* in file)"
    r"|incompatible library|extension .* is not available)",
)
_UNKNOWN_TO_SERVER = Cause(
    ExitCode.DUMP_REFUSED,
    "The server doesn't know what the runner's pg_dump asks or can't say it, as an older minor "
    "version doesn't: update the server to the newest minor of its major version",
    rf"{_SERVER}(?:invalid constraint type|unrecognized configuration parameter"
    r"|function pg_catalog\.\S+ does not exist|column \w+\.\w+ does not exist)"
    r"|error: (?:unrecognized|unexpected (?:tgtype|policy)) [a-z]+",
)
_RESTRICTED = Cause(
    ExitCode.DUMP_REFUSED,
    "An extension chooses rows of its own tables by a view or a foreign table, which pg_dump "
    "forbids: have the extension corrected, or leave its data out with exclude_table_data",
    rf"{_SERVER}access to non-system (?:view|foreign table) is restricted",
)
_DAMAGED = Cause(
    ExitCode.DUMP_REFUSED,
    "The server's data are damaged: bring the table back from a backup, or leave its data out with "
    "exclude_table_data; see the runner's log for the rest",
    rf"{_SERVER}(?:invalid page in block|(?:missing|unexpected) chunk|compressed .* is corrupt"
    r"|could not access status of transaction)",
)
_ROW_TOO_LARGE = Cause(
    ExitCode.DUMP_REFUSED,
    "A row has more bytes, as text, than PostgreSQL can send (1 GB): make it smaller, or leave its "
    "table's data out with exclude_table_data",
    rf"{_SERVER}(?:invalid memory alloc request size|string buffer exceeds)"
    r"|Cannot enlarge string buffer",
)
_SERVER_MEMORY = Cause(
    ExitCode.DUMP_FAILED,
    "The server is out of memory: give it more, or export at a calmer time",
    rf"{_SERVER}out of memory",
)
_OWN_MEMORY = Cause(
    ExitCode.KILLED,
    "pg_dump has too little memory: raise resources.limits.memory on the ExportTarget",
    "error: out of memory|out of memory for query result",
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
_FUNCTION_FAILED = Cause(
    ExitCode.DUMP_REFUSED,
    "A function of the database or of an extension fails when the dump has it called: correct the "
    "function, or leave out what calls it; see the runner's log for the rest",
    r"(?:PL/\w+|SQL)(?: function|-Funktion|, fonction|, funci\S+) \S",
)
_CHANGED = Cause(
    ExitCode.DUMP_FAILED,
    "Something was dropped or changed while the dump began: start the export again when nobody "
    "changes tables",
    rf"{_SERVER}(?:relation .* does not exist|could not open relation with OID"
    r"|cache lookup failed|large object \d+ does not exist|tuple concurrently"
    r"|could not serialize access|snapshot too old)"
    r"|error: [a-z ]+ with OID \d+ does not exist|error: failed sanity check",
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


def _spool_limited(end: DumpEnd) -> Failure | None:
    if end.exit_status != -signal.SIGXFSZ:
        return None
    return Failure(
        ExitCode.STORAGE_FULL,
        "A table, or a large object, is larger than what the tar format may keep on the exports' "
        "volume for a while: export as custom or sql, which keep nothing there, or have an "
        "administrator raise storage.maxSpoolBytes in the chart (unless that is given, maxBytes "
        "and what maxStoredBytes has left are the limit).",
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


def _expression_wrong(end: DumpEnd) -> Failure | None:
    found = _BAD_EXPRESSION.search(end.text)
    if found is None:
        return None
    # Only the query has the pattern, as the expression that pg_dump made of it.
    asked = _EXPRESSION_ASKED_FOR.findall(end.text)
    pattern = f" of the pattern {one_line(asked[-1], _LONGEST_PATTERN)}" if asked else ""
    said = aside(found[0].partition(": ")[2])
    return Failure(_WRONG_PATTERN.exit_code, f"{_WRONG_PATTERN.advice} ({said}{pattern}).")


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
    # Its own limit of a file; in the tar format alone it makes any.
    _spool_limited,
    # Another signal ended it.
    _crashed,
    # The user lacks a privilege; before lost connections, for an error can end the session, too.
    _permission_denied,
    # A policy hides rows, and pg_dump refuses to dump a part of a table.
    _rows_hidden,
    # The server is newer than this pg_dump; `choose_client` has seen to it, unless it was replaced.
    _version_mismatch,
    # The request names what the database doesn't have, or names it wrongly.
    _said(_WRONG_PATTERN),
    _expression_wrong,
    # Before lost connections, for it is another connection; before locks, for it can wait, too.
    _said(_FOREIGN_SERVER),
    # The server's disk; then the tar format's spool, or the volume, is full, or is away.
    _said(_SERVER_DISK_FULL),
    _said(_NO_ROOM),
    _said(_VOLUME_AWAY),
    # All locks together are too many.
    _said(_TOO_MANY_LOCKS),
    # Someone else holds a lock for longer than pg_dump waits.
    _said(_LOCKED),
    # The server, a pooler or a person ended it on purpose.
    _said(_RECOVERY_CONFLICT),
    _said(_TIME_LIMIT),
    _said(_CANCELED),
    # What lies in the database, or beside it, can't be read.
    _said(_ENCODING),
    _said(_LIBRARY),
    _said(_UNKNOWN_TO_SERVER),
    _said(_RESTRICTED),
    _said(_DAMAGED),
    # Before the server's memory, whose words it shares.
    _said(_ROW_TOO_LARGE),
    _said(_SERVER_MEMORY),
    _said(_OWN_MEMORY),
    # Late, because its words come after many another error.
    _connection_lost,
    # After a lost connection, which may be lost within a function.
    _said(_FUNCTION_FAILED),
    # Last, because a function that fails may miss something, too, and will again.
    _said(_CHANGED),
)


def _quoted(name: str) -> str:
    """Returns the name as SQL spells it."""
    return '"' + name.replace('"', '""') + '"'
