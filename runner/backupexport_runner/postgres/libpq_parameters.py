"""A connection in libpq's own terms: keywords for the preflight, environment for pg_dump."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from psycopg import pq

from backupexport_runner.postgres.connection import SYSTEM_CERTIFICATES, Connection

CONNECT_SECONDS = 10

# What OpenSSL takes for sslrootcert=system: Debian's bundle, named here because the image may
# lack the links by which OpenSSL would find it.
SYSTEM_CERTIFICATES_VARIABLE = {"SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt"}

_ENCODING = "[A-Z0-9_]{1,20}"

# The kernel gives up a silent peer after a minute (30 + 3 * 10 seconds without an answer).
# These have no environment variable, so they are the only parameters on pg_dump's command line.
TCP_PARAMETERS = {
    "keepalives": "1",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}


# What the dump's session has, whatever is set for the role or the database: pg_dump sets most of
# it, but not the role, and not before it has asked its first questions.
_SESSION_SETTINGS = {
    "role": "none",
    # PostgreSQL's own.  pg_dump empties it, and goes back to it where a pattern names no schema: in
    # an empty one it would find, and leave out, nothing.
    "search_path": '"$user",public',
    "datestyle": "ISO",
    "intervalstyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "3",
    "quote_all_identifiers": "off",
    "row_security": "on",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
}
# As `options` spell a space (https://www.postgresql.org/docs/current/libpq-connect.html).
_SPACE = r"\ "
_SETTINGS_SINCE = {17: {"transaction_timeout": "0"}}


def session_parameters(encoding: str, major: int, *, is_direct: bool) -> dict[str, str]:
    """Returns keywords that make the session independent of what is set for role and database.

    Poolers refuse `options`, or pass them on to others, so only a direct connection has them.
    """
    settings = dict(_SESSION_SETTINGS)
    for since, more in _SETTINGS_SINCE.items():
        if major >= since:
            settings |= more
    options = [f"-c {name}={value.replace(' ', _SPACE)}" for name, value in settings.items()]
    # Without it pg_dump converts to the encoding that is set for the role, or fails to.
    parameters = {"client_encoding": encoding} if re.fullmatch(_ENCODING, encoding) else {}
    if is_direct:
        parameters["options"] = " ".join(options)
    return parameters


def libpq_parameters(
    connection: Connection, certificates: Mapping[str, str], job_id: str
) -> dict[str, str]:
    """Returns every keyword except the TCP ones; `certificates` are `write_certificates`'."""
    parameters: dict[str, str | None] = {
        "host": connection.host,
        "port": connection.port,
        "user": connection.username,
        "dbname": connection.database,
        "password": connection.password,
        "sslmode": connection.sslmode,
        **certificates,
        "application_name": f"backupexport {job_id}",
        "connect_timeout": str(CONNECT_SECONDS),
        # There is no Kerberos ticket in the pod; libpq would still look for one.
        "gssencmode": "disable",
        # Nobody who listens, and no server that isn't the right one, gets a password in the clear.
        "require_auth": "!password",
        **connection.more,
    }
    return {keyword: value for keyword, value in parameters.items() if value is not None}


def child_environment(parameters: Mapping[str, str], scratch: Path) -> dict[str, str]:
    """Returns the whole environment of pg_dump, with nothing of the runner's own."""
    # libpq knows the variable of each keyword, for example PGHOST of `host`.
    variables = {option.keyword: option.envvar for option in pq.Conninfo.get_defaults()}
    return {
        "PATH": "/usr/bin:/bin",
        # `dump_failures` reads English messages.
        "LC_ALL": "C.UTF-8",
        "HOME": str(scratch),
        **SYSTEM_CERTIFICATES_VARIABLE,
        **{
            (variables[keyword.encode()] or b"").decode(): value
            for keyword, value in parameters.items()
        },
    }


def write_certificates(connection: Connection, scratch: Path) -> dict[str, str]:
    """Returns libpq's keywords for certificates: paths of new files (mode 0600), or `system`."""
    written: dict[str, str] = {}
    for keyword in ("sslrootcert", "sslcert", "sslkey"):
        pem: str | None = getattr(connection, keyword)
        if pem == SYSTEM_CERTIFICATES:
            written[keyword] = pem
        elif pem is not None:
            path = scratch / f"{keyword}.pem"
            path.unlink(missing_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            with os.fdopen(os.open(path, flags, 0o600), "w", encoding="utf-8") as file:
                file.write(pem + "\n")
            written[keyword] = str(path)
    return written
