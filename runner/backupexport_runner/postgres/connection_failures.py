"""Why a connection to the server fails: from SQLSTATEs and libpq's text to exit code and advice.

The server's text is in the server's language (lc_messages) and its SQLSTATE is not, so the
SQLSTATE decides if there is one.  libpq's own messages are in English, the runner's language, and
so are PgBouncer's, whose SQLSTATE is often just 08P01.
SQLSTATEs: https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from backupexport_contract.reasons import ExitCode

from backupexport_runner.task.failure import Failure, one_line

_LONGEST_DETAIL = 500


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a connection fails and what to do, with the SQLSTATEs and English words that say so."""

    exit_code: ExitCode
    advice: str
    words: str
    sqlstates: tuple[str, ...] = ()


# In order: the first whose words are in the text.  A new cause is an entry.
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
        ExitCode.AUTHENTICATION_FAILED,
        "The server refuses the user: correct username and password in the target's Secret, and "
        "allow the runner's pods in pg_hba.conf",
        r"password authentication failed|SASL authentication failed|no such user"
        r"|no pg_hba\.conf entry|role .* does not exist|role .* is not permitted to log in",
        ("28000", "28P01"),
    ),
    Cause(
        ExitCode.DATABASE_NOT_FOUND,
        "The server has no such database: correct the database in the target's Secret or create it",
        r"no such database|database .* does not exist",
        ("3D000",),
    ),
    Cause(
        ExitCode.PERMISSION_DENIED,
        "The user may not connect to the database: grant it CONNECT on the database",
        r"permission denied for database",
        ("42501",),
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
        r"alert (?:unknown ca|bad certificate|certificate \w+|handshake failure)"
        r"|requires a valid client certificate",
    ),
    Cause(
        ExitCode.AUTHENTICATION_FAILED,
        "The server's encryption is not what sslmode asks for (require unless said): correct "
        "sslmode and sslrootcert of the ExportTarget (or in the Secret), or the server's "
        "certificate",
        r"certificate verify failed|server certificate for|does not support SSL"
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
        "The server has no connection left: free some or raise max_connections (or the user's "
        "limit)",
        r"too many (clients|connections)|remaining connection slots",
        ("53300",),
    ),
)
_UNREACHABLE = Cause(
    ExitCode.CONNECTION_FAILED,
    "The server can't be reached or doesn't take connections now: check that it runs, host and "
    "port in the target's Secret, and the network policies between",
    "",
)


def connection_failure(sqlstates: Sequence[str], text: str) -> Failure:
    """Returns the failure; `sqlstates` has one for each host or encryption that libpq tried."""
    if not sqlstates or all(sqlstate.startswith("08") for sqlstate in sqlstates):
        cause = cause_in_text(text) or _UNREACHABLE
    else:
        causes = [
            next((cause for cause in CAUSES if sqlstate in cause.sqlstates), _UNREACHABLE)
            for sqlstate in sqlstates
        ]
        # A server that may get well comes before one that won't: the attempt is then repeated.
        passing = (cause for cause in causes if cause.exit_code == ExitCode.CONNECTION_FAILED)
        cause = next(passing, causes[0])
    return Failure(cause.exit_code, f"{cause.advice} ({aside(text)}).")


def cause_in_text(text: str) -> Cause | None:
    """Returns the first cause whose English words are in `text`, or None."""
    return next((cause for cause in CAUSES if re.search(cause.words, text)), None)


def aside(text: str) -> str:
    """Returns `text` fit to stand in brackets at the end of a sentence."""
    return one_line(text, _LONGEST_DETAIL).rstrip(".")
