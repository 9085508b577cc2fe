"""Why a connection to the server fails: from SQLSTATEs and libpq's text to exit code and advice.

The server's text is in the server's language (lc_messages) and its SQLSTATE is not, so the
SQLSTATE decides if there is one.  libpq's own messages are in English, the runner's language, and
so are those of poolers, whose SQLSTATE is often just 08P01 or XX000.
SQLSTATEs: https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from backupexport_contract.reasons import ExitCode

from backupexport_runner.task.failure import Failure, one_line

_LONGEST_DETAIL = 500
# Connection exceptions and internal errors: what poolers send with whatever they say.
_SAYS_NOTHING = ("08", "XX")


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a connection fails and what to do, with the SQLSTATEs and English words that say so."""

    exit_code: ExitCode
    advice: str
    words: str
    sqlstates: tuple[str, ...] = ()


# In order: the first whose words are in the text.  A new cause is an entry.  Where several have the
# SQLSTATE, the words choose, and the last of them is for words that none knows.
CAUSES = (
    Cause(
        ExitCode.AUTHENTICATION_FAILED,
        "The server asks for the password in the clear, which is refused: have it ask by SCRAM, "
        "or, where it can't (LDAP, PAM), give the target's Secret a uri with the parameter "
        "require_auth=password",
        r"requested a cleartext password",
    ),
    Cause(
        ExitCode.SECRET_INVALID,
        "The server asks for a password and the target's Secret holds none: add the key password",
        r"no password supplied",
    ),
    Cause(
        ExitCode.SECRET_INVALID,
        "A connection pooler refuses the session that a dump needs: give the target host and port "
        "of the server itself, or a pool in session mode",
        r"unsupported startup parameter|statement pooling mode",
    ),
    Cause(
        ExitCode.CONNECTION_FAILED,
        "No server of the target's hosts is what targetSessionAttrs asks for: correct it, or the "
        "hosts, or wait until one has that role again",
        r"session is (?:not )?read-only|server is (?:not )?in hot standby mode",
    ),
    Cause(
        ExitCode.AUTHENTICATION_FAILED,
        "The server wants a client certificate that it takes for this user: add sslcert and sslkey "
        "to the target's Secret, or correct them",
        r"requires a valid client certificate|certificate authentication failed",
        ("28000",),
    ),
    Cause(
        ExitCode.AUTHENTICATION_FAILED,
        "The server's pg_hba.conf lets nobody in who comes like this: allow the runner's pods "
        "there, and where it wants encryption (or none), correct sslmode",
        r"no pg_hba\.conf entry|pg_hba\.conf rejects",
        ("28000",),
    ),
    Cause(
        ExitCode.AUTHENTICATION_FAILED,
        "The server refuses the user: correct username and password in the target's Secret, and "
        "allow the runner's pods in pg_hba.conf",
        r"password authentication failed|SASL authentication failed|no such user"
        r"|role .* does not exist|role .* is not permitted to log in"
        # Supavisor, PgBouncer and others: the user's name has a tenant's in it.
        r"|[Tt]enant or user not found|server login failed|no credentials for the role",
        ("28000", "28P01"),
    ),
    Cause(
        ExitCode.DATABASE_NOT_FOUND,
        "The database takes no connections: open it (ALTER DATABASE with ALLOW_CONNECTIONS true), "
        "or, where a DROP DATABASE was cut short, end that and correct the target's database",
        r"not currently accepting connections|cannot connect to invalid database",
        ("55000",),
    ),
    Cause(
        ExitCode.DATABASE_NOT_FOUND,
        "The server has no such database: correct the database in the target's Secret or create it",
        r"no such database|database .* does not exist",
        ("3D000", "57P04"),
    ),
    Cause(
        ExitCode.PERMISSION_DENIED,
        "The user may not connect to the database: grant it CONNECT on the database",
        r"permission denied for database",
        ("42501",),
    ),
    Cause(
        ExitCode.SERVER_VERSION_UNSUPPORTED,
        "The server speaks an older protocol than the runner's clients: update it to a PostgreSQL "
        "that they know",
        r"unsupported frontend protocol",
        ("0A000",),
    ),
    Cause(
        ExitCode.SECRET_INVALID,
        "The sslrootcert of the target can't be used: put the certificate authority's certificates "
        "there in PEM",
        r"root certificate file|root\.crl|no certificate or crl found",
    ),
    Cause(
        ExitCode.SECRET_INVALID,
        "The client certificate of the target can't be used: put a certificate and its own private "
        "key in PEM into sslcert and sslkey",
        r"private key file|could not read certificate file|could not load certificate",
    ),
    Cause(
        ExitCode.AUTHENTICATION_FAILED,
        "The server refuses the client certificate: correct sslcert and sslkey in the target's "
        "Secret, or the authority that the server trusts",
        r"alert (?:unknown ca|bad certificate|certificate \w+|handshake failure)",
    ),
    Cause(
        ExitCode.AUTHENTICATION_FAILED,
        "The server has no TLS, and the target asks for it (sslmode require unless said): turn TLS "
        "on there, or let it go in clear by sslmode: disable in the ExportTarget's spec",
        r"server does not support SSL",
    ),
    Cause(
        ExitCode.AUTHENTICATION_FAILED,
        "The server's encryption is not what sslmode asks for (require unless said): correct "
        "sslmode and sslrootcert of the ExportTarget (or in the Secret), or the server's "
        "certificate",
        r"certificate verify failed|server certificate for"
        r"|server does not support|channel binding|wrong version number"
        r"|unsupported protocol|no protocols available|weak sslmode",
    ),
    Cause(
        ExitCode.CONNECTION_FAILED,
        "The server's host name is unknown in the cluster: check the host in the target's Secret "
        "(with its namespace, <service>.<namespace>)",
        r"could not translate host name|Name or service not known",
    ),
    Cause(
        ExitCode.CONNECTION_FAILED,
        "The server has no connection left: free some or raise max_connections (or the limit of "
        "the user, the database or the pooler)",
        r"too many (?:clients|connections)|remaining connection slots"
        # PgBouncer, Supavisor.
        r"|no more connections allowed|[Mm]ax client(?:s|\sconnections) reached",
        ("53300",),
    ),
    Cause(
        ExitCode.CONNECTION_FAILED,
        "The server is starting, stopping or recovering: check that it runs and takes connections "
        "again, and see its log if it doesn't",
        r"database system is (?:starting up|shutting down|shut down|in recovery mode"
        r"|not (?:yet )?accepting connections)|due to administrator command"
        r"|because of crash of another server process",
        ("57P01", "57P02", "57P03"),
    ),
    Cause(
        ExitCode.CONNECTION_FAILED,
        "The server has no memory or disk left: free some there",
        r"FATAL: +(?:out of memory|.*No space left on device)",
        ("53000", "53100", "53200"),
    ),
    Cause(
        ExitCode.DUMP_REFUSED,
        "The server lacks a library that it is told to load for each session: install it there, or "
        "take it out of session_preload_libraries or local_preload_libraries of the user, the "
        "database or the server",
        r'could not access file "',
        ("58P01",),
    ),
)
_UNREACHABLE = Cause(
    ExitCode.CONNECTION_FAILED,
    "The server can't be reached or doesn't take connections now: check that it runs, host and "
    "port in the target's Secret, and the network policies between",
    "",
)
# A SQLSTATE that no cause has is the word of a server that was reached.
_REFUSED = Cause(
    ExitCode.CONNECTION_FAILED,
    "The server refuses the session for a reason of its own, which its words tell: correct what "
    "they name, as a setting of the user or the database, or a trigger on logins",
    "",
)


def connection_failure(sqlstates: Sequence[str], text: str) -> Failure:
    """Returns the failure; `sqlstates` has one for each host or encryption that libpq tried."""
    if all(sqlstate.startswith(_SAYS_NOTHING) for sqlstate in sqlstates):
        cause = cause_in_text(text) or _UNREACHABLE
    else:
        causes = [_cause_of(sqlstate, text) for sqlstate in sqlstates]
        # A server that may get well comes before one that won't: the attempt is then repeated.
        passing = (cause for cause in causes if cause.exit_code == ExitCode.CONNECTION_FAILED)
        cause = next(passing, causes[0])
    return Failure(cause.exit_code, f"{cause.advice} ({aside(text)}).")


def _cause_of(sqlstate: str, text: str) -> Cause:
    if sqlstate.startswith(_SAYS_NOTHING):
        return _UNREACHABLE
    causes = [cause for cause in CAUSES if sqlstate in cause.sqlstates] or [_REFUSED]
    return next((cause for cause in causes if re.search(cause.words, text)), causes[-1])


def cause_in_text(text: str) -> Cause | None:
    """Returns the first cause whose English words are in `text`, or None."""
    return next((cause for cause in CAUSES if re.search(cause.words, text)), None)


def aside(text: str) -> str:
    """Returns `text` fit to stand in brackets at the end of a sentence."""
    return one_line(text, _LONGEST_DETAIL).rstrip(".")
