import pytest
from backupexport_contract.reasons import ExitCode
from backupexport_runner.postgres.connection_failures import connection_failure
from backupexport_runner.postgres.libpq import ServerError


@pytest.mark.parametrize(
    ("text", "exit_code", "words"),
    [
        # In other languages only the SQLSTATE tells.
        (
            "FATAL:  28P01: Passwort-Authentifizierung fehlgeschlagen",
            ExitCode.AUTHENTICATION_FAILED,
            "username and password",
        ),
        (
            "致命错误:  28000: 没有用于主机的 pg_hba.conf 记录",
            ExitCode.AUTHENTICATION_FAILED,
            "pg_hba.conf",
        ),
        ("FATAL:  3D000: Datenbank »x« existiert nicht", ExitCode.DATABASE_NOT_FOUND, "create it"),
        ("FATAL:  42501: keine Berechtigung", ExitCode.PERMISSION_DENIED, "grant it CONNECT"),
        ("FATAL:  53300: zu viele", ExitCode.CONNECTION_FAILED, "max_connections"),
        (
            "FATAL:  57P03: le système de bases de données se lance",
            ExitCode.CONNECTION_FAILED,
            "check that it runs",
        ),
        ("FATAL:  57P01: x", ExitCode.CONNECTION_FAILED, "check that it runs"),
        # One host may get well: worth another attempt.
        ("a: FATAL:  28P01: x\nb: FATAL:  57P03: y", ExitCode.CONNECTION_FAILED, "runs"),
        # PgBouncer, whose SQLSTATE says nothing.
        ("FATAL:  08P01: no such user: app", ExitCode.AUTHENTICATION_FAILED, "password"),
        ("FATAL:  08P01: no such database: x", ExitCode.DATABASE_NOT_FOUND, "create it"),
        ("FATAL:  08P01: server login has been failing", ExitCode.CONNECTION_FAILED, "runs"),
        # libpq's own.
        ("fe_sendauth: no password supplied", ExitCode.SECRET_INVALID, "the key password"),
        (
            "server does not support SSL, but SSL was required",
            ExitCode.AUTHENTICATION_FAILED,
            "sslmode",
        ),
        ("SSL error: certificate verify failed", ExitCode.AUTHENTICATION_FAILED, "sslrootcert"),
        (
            'server certificate for "a" does not match host name "b"',
            ExitCode.AUTHENTICATION_FAILED,
            "sslrootcert",
        ),
        (
            'could not read root certificate file "/tmp/x": no certificate or crl found',
            ExitCode.SECRET_INVALID,
            "PEM",
        ),
        (
            'could not translate host name "x" to address: Name or service not known',
            ExitCode.CONNECTION_FAILED,
            "host name is unknown",
        ),
        (
            'authentication method requirement "!password" failed: server requested a cleartext '
            "password",
            ExitCode.AUTHENTICATION_FAILED,
            "require_auth=password",
        ),
        (
            'could not load private key file "/x": key values mismatch',
            ExitCode.SECRET_INVALID,
            "sslcert and sslkey",
        ),
        ("SSL error: tlsv1 alert unknown ca", ExitCode.AUTHENTICATION_FAILED, "client certificate"),
        # The first in the list, wherever it is in the text.
        (
            "no such database\nfe_sendauth: no password supplied",
            ExitCode.SECRET_INVALID,
            "the key password",
        ),
        (
            "certificate verify failed\nroot certificate file missing",
            ExitCode.SECRET_INVALID,
            "PEM",
        ),
        ("a: FATAL:  3D000: x\nb: FATAL:  28P01: y", ExitCode.DATABASE_NOT_FOUND, "create it"),
        ("Connection refused", ExitCode.CONNECTION_FAILED, "host and port"),
        ("timeout expired", ExitCode.CONNECTION_FAILED, "network policies"),
        ("SSL SYSCALL error: Connection reset by peer", ExitCode.CONNECTION_FAILED, "runs"),
        ("", ExitCode.CONNECTION_FAILED, "runs"),
    ],
)
def test_why_a_connection_failed(text: str, exit_code: ExitCode, words: str) -> None:
    error = ServerError(text)
    failure = connection_failure(error.sqlstates, error.text)
    assert failure.exit_code == exit_code
    assert words in failure.message


def test_the_text_without_its_codes() -> None:
    error = ServerError(
        'connection to server at "h" failed: FATAL:  28P01: no\nLOCATION:  auth_failed, auth.c:327'
    )
    assert error.sqlstates == ["28P01"]
    assert error.text == 'connection to server at "h" failed: FATAL: no'


def test_a_long_text_is_cut() -> None:
    assert len(connection_failure([], "x" * 10000).message) < 1000
