"""Why a connection failed: SQLSTATE and libpq's text → exit code and what to do.

The server's text is in the server's language (lc_messages), its SQLSTATE is not, so the
SQLSTATE decides where there is one.  libpq's own messages come in the runner's language,
which is always English; so do PgBouncer's, whose SQLSTATE is often just 08P01.
SQLSTATEs: https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

import re
from collections.abc import Sequence

from backupexport_contract.reasons import ExitCode

from backupexport_runner.task.failure import Failure, one_line

_AUTHENTICATION = (
    ExitCode.AUTHENTICATION_FAILED,
    "The server refuses the user: correct username and password in the target's Secret, and "
    "allow the runner's pods in pg_hba.conf",
)
_DATABASE = (
    ExitCode.DATABASE_NOT_FOUND,
    "The server has no such database: correct the database in the target's Secret or create it",
)
_NO_CONNECT = (
    ExitCode.PERMISSION_DENIED,
    "The user may not connect to the database: grant it CONNECT on the database",
)
_NO_SUPPORT_FOR_TLS = (
    ExitCode.AUTHENTICATION_FAILED,
    "The server's encryption is not what sslmode asks for: correct sslmode and sslrootcert of "
    "the ExportTarget (or in the Secret), or the server's certificate",
)
_NO_PASSWORD = (
    ExitCode.SECRET_INVALID,
    "The server asks for a password and the target's Secret holds none: add the key password",
)
_NO_CERTIFICATES = (
    ExitCode.SECRET_INVALID,
    "The sslrootcert of the target can't be used: put the certificate authority's certificates "
    "there in PEM",
)
_NO_HOST = (
    ExitCode.CONNECTION_FAILED,
    "The server's host name is unknown in the cluster: check the host in the target's Secret "
    "(with its namespace, <service>.<namespace>)",
)
_TOO_MANY = (
    ExitCode.CONNECTION_FAILED,
    "The server has no connection left: free some or raise max_connections (or the user's limit)",
)
_UNREACHABLE = (
    ExitCode.CONNECTION_FAILED,
    "The server can't be reached or doesn't take connections now: check that it runs, host and "
    "port in the target's Secret, and the network policies between",
)

_OF_SQLSTATE = {
    "28000": _AUTHENTICATION,
    "28P01": _AUTHENTICATION,
    "3D000": _DATABASE,
    "42501": _NO_CONNECT,
    "53300": _TOO_MANY,
}
_OF_TEXT = (
    (r"no password supplied", _NO_PASSWORD),
    (
        r"password authentication failed|SASL authentication failed|no such user"
        r"|no pg_hba\.conf entry|role .* does not exist|role .* is not permitted to log in",
        _AUTHENTICATION,
    ),
    (r"no such database|database .* does not exist", _DATABASE),
    (r"permission denied for database", _NO_CONNECT),
    (r"root certificate file|root\.crl|no certificate or crl found", _NO_CERTIFICATES),
    (
        r"certificate verify failed|server certificate for|does not support SSL"
        r"|server does not support|channel binding|wrong version number"
        r"|unsupported protocol|no protocols available|weak sslmode",
        _NO_SUPPORT_FOR_TLS,
    ),
    (r"could not translate host name|Name or service not known", _NO_HOST),
    (r"too many (clients|connections)|remaining connection slots", _TOO_MANY),
)

_LONGEST_DETAIL = 500


def connection_failure(sqlstates: Sequence[str], text: str) -> Failure:
    """The verdict; `sqlstates` has one for each host or encryption that libpq tried.

    A server that may get well counts more than one that won't: the attempt is repeated.
    """
    exit_code, advice = _verdict(sqlstates, text)
    return Failure(exit_code, f"{advice} ({aside(text)}).")


def cause_in_text(text: str) -> tuple[ExitCode, str] | None:
    """What English text alone tells, or None."""
    return next((verdict for pattern, verdict in _OF_TEXT if re.search(pattern, text)), None)


def _verdict(sqlstates: Sequence[str], text: str) -> tuple[ExitCode, str]:
    known = [_OF_SQLSTATE.get(sqlstate, _UNREACHABLE) for sqlstate in sqlstates]
    if known and not all(sqlstate.startswith("08") for sqlstate in sqlstates):
        return next((one for one in known if one[0] == ExitCode.CONNECTION_FAILED), known[0])
    return cause_in_text(text) or _UNREACHABLE


def aside(text: str) -> str:
    """`text` fit to stand in brackets at the end of a sentence."""
    return one_line(text, _LONGEST_DETAIL).rstrip(".")
