"""A connection as libpq takes it: keywords for the preflight, environment for pg_dump."""

import os
from collections.abc import Mapping
from pathlib import Path

from backupexport_runner.postgres.connection import SYSTEM_CERTIFICATES, Connection

CONNECT_SECONDS = 10

# What OpenSSL takes for sslrootcert=system: Debian's bundle, named here because the image may
# lack the links by which OpenSSL would find it.
SYSTEM_CERTIFICATES_VARIABLE = {"SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt"}

# The kernel gives a silent peer up after a minute (30 + 3 * 10 seconds without an answer).
# These have no environment variable, so they are the only parameters on pg_dump's command line.
TCP_PARAMETERS = {
    "keepalives": "1",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}

# https://www.postgresql.org/docs/current/libpq-envars.html
_VARIABLE = {
    "host": "PGHOST",
    "port": "PGPORT",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "dbname": "PGDATABASE",
    "application_name": "PGAPPNAME",
    "connect_timeout": "PGCONNECT_TIMEOUT",
    "gssencmode": "PGGSSENCMODE",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
    "load_balance_hosts": "PGLOADBALANCEHOSTS",
    "channel_binding": "PGCHANNELBINDING",
    "require_auth": "PGREQUIREAUTH",
    "ssl_min_protocol_version": "PGSSLMINPROTOCOLVERSION",
    "ssl_max_protocol_version": "PGSSLMAXPROTOCOLVERSION",
    "sslnegotiation": "PGSSLNEGOTIATION",
    "sslsni": "PGSSLSNI",
}


def libpq_parameters(
    connection: Connection, certificates: str | None, job_id: str
) -> dict[str, str]:
    """Every keyword except the TCP ones; `certificates` is a file's path, or `system`."""
    parameters = {
        "host": connection.host,
        "port": connection.port,
        "user": connection.username,
        "dbname": connection.database,
        "application_name": f"backupexport {job_id}",
        "connect_timeout": str(CONNECT_SECONDS),
        # There is no Kerberos ticket in the pod; libpq would still look for one.
        "gssencmode": "disable",
        **connection.more,
    }
    optional = {
        "password": connection.password,
        "sslmode": connection.sslmode,
        "sslrootcert": certificates,
    }
    return parameters | {keyword: value for keyword, value in optional.items() if value}


def child_environment(parameters: Mapping[str, str], scratch: Path) -> dict[str, str]:
    """The whole environment of pg_dump: nothing of the runner's own gets into it."""
    return {
        "PATH": "/usr/bin:/bin",
        # Messages are read by `dump_errors`, which knows English.
        "LC_ALL": "C.UTF-8",
        "HOME": str(scratch),
        **SYSTEM_CERTIFICATES_VARIABLE,
        **{_VARIABLE[keyword]: value for keyword, value in parameters.items()},
    }


def write_certificates(connection: Connection, scratch: Path) -> str | None:
    """What libpq takes as sslrootcert: a file of mode 0600 with the PEM text, or `system`."""
    if connection.sslrootcert in (None, SYSTEM_CERTIFICATES):
        return connection.sslrootcert
    path = scratch / "sslrootcert.pem"
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(connection.sslrootcert + "\n")
    return str(path)
