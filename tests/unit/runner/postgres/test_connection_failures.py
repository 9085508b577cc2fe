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
        (
            "FATAL:  57P03: the database system is starting up",
            ExitCode.CONNECTION_FAILED,
            "starting",
        ),
        (
            "FATAL:  57P03: the database system is shutting down",
            ExitCode.CONNECTION_FAILED,
            "stopping",
        ),
        (
            "FATAL:  57P03: the database system is in recovery mode",
            ExitCode.CONNECTION_FAILED,
            "recovering",
        ),
        (
            "FATAL:  57P03: the database system is not yet accepting connections\n"
            "DETAIL:  Consistent recovery state has not been yet reached.",
            ExitCode.CONNECTION_FAILED,
            "recovering",
        ),
        (
            "FATAL:  57P01: terminating connection due to administrator command",
            ExitCode.CONNECTION_FAILED,
            "takes connections again",
        ),
        # libpq without SQLSTATEs, and poolers that repeat a server's words.
        ("FATAL:  the database system is starting up", ExitCode.CONNECTION_FAILED, "starting"),
        (
            "FATAL:  53300: sorry, too many clients already",
            ExitCode.CONNECTION_FAILED,
            "no connection left",
        ),
        (
            "FATAL:  53300: remaining connection slots are reserved for roles with the SUPERUSER "
            "attribute",
            ExitCode.CONNECTION_FAILED,
            "no connection left",
        ),
        (
            'FATAL:  53300: too many connections for role "app"',
            ExitCode.CONNECTION_FAILED,
            "limit of the user",
        ),
        (
            'FATAL:  53300: too many connections for database "d"',
            ExitCode.CONNECTION_FAILED,
            "the database",
        ),
        (
            "FATAL:  08P01: no more connections allowed (max_client_conn)",
            ExitCode.CONNECTION_FAILED,
            "the pooler",
        ),
        (
            "FATAL:  XX000: MaxClientsInSessionMode: max clients reached",
            ExitCode.CONNECTION_FAILED,
            "the pooler",
        ),
        ("FATAL:  53200: out of memory", ExitCode.CONNECTION_FAILED, "no memory"),
        (
            "FATAL:  53100: n'a pas pu écrire dans le fichier",
            ExitCode.CONNECTION_FAILED,
            "or disk left",
        ),
        # A library that is loaded for each session.
        (
            'FATAL:  58P01: could not access file "auto_audit": No such file or directory',
            ExitCode.DUMP_REFUSED,
            "session_preload_libraries",
        ),
        ("FATAL:  58P01: Datei nicht gefunden", ExitCode.DUMP_REFUSED, "install it"),
        (
            'could not access file "$libdir/plugins/x": No such file or directory',
            ExitCode.DUMP_REFUSED,
            "local_preload_libraries",
        ),
        # The server answered, as by a trigger on logins.
        ("FATAL:  P0001: no logins at night", ExitCode.CONNECTION_FAILED, "refuses the session"),
        ("FATAL:  22023: x", ExitCode.CONNECTION_FAILED, "reason of its own"),
        # Of a certificate that the server wants, and of other ways in.
        (
            "FATAL:  28000: connection requires a valid client certificate",
            ExitCode.AUTHENTICATION_FAILED,
            "add sslcert and sslkey",
        ),
        (
            'FATAL:  28000: certificate authentication failed for user "app"',
            ExitCode.AUTHENTICATION_FAILED,
            "add sslcert and sslkey",
        ),
        (
            "FATAL:  28000: Verbindung erfordert ein gültiges Client-Zertifikat",
            ExitCode.AUTHENTICATION_FAILED,
            "refuses the user",
        ),
        (
            'FATAL:  28000: no pg_hba.conf entry for host "10.0.0.1", user "u", database "d", '
            "no encryption",
            ExitCode.AUTHENTICATION_FAILED,
            "correct sslmode",
        ),
        (
            'FATAL:  28000: pg_hba.conf rejects connection for host "10.0.0.1", user "u"',
            ExitCode.AUTHENTICATION_FAILED,
            "allow the runner's pods",
        ),
        (
            'FATAL:  28000: role "nobody" does not exist',
            ExitCode.AUTHENTICATION_FAILED,
            "username and password",
        ),
        # Databases that let nobody in.
        (
            'FATAL:  55000: database "d" is not currently accepting connections',
            ExitCode.DATABASE_NOT_FOUND,
            "ALLOW_CONNECTIONS",
        ),
        (
            'FATAL:  55000: cannot connect to invalid database "d"\n'
            "HINT:  Use DROP DATABASE to drop invalid databases.",
            ExitCode.DATABASE_NOT_FOUND,
            "cut short",
        ),
        (
            "FATAL:  57P04: terminating connection because a database was dropped",
            ExitCode.DATABASE_NOT_FOUND,
            "create it",
        ),
        (
            "FATAL:  0A000: unsupported frontend protocol 3.0: server supports 1.0 to 2.0",
            ExitCode.SERVER_VERSION_UNSUPPORTED,
            "older protocol",
        ),
        # One host may get well: worth another attempt.
        ("a: FATAL:  28P01: x\nb: FATAL:  57P03: y", ExitCode.CONNECTION_FAILED, "runs"),
        # PgBouncer, whose SQLSTATE says nothing.
        ("FATAL:  08P01: no such user: app", ExitCode.AUTHENTICATION_FAILED, "password"),
        ("FATAL:  08P01: no such database: x", ExitCode.DATABASE_NOT_FOUND, "create it"),
        ("FATAL:  08P01: server login has been failing", ExitCode.CONNECTION_FAILED, "runs"),
        ("FATAL:  XX000: Tenant or user not found", ExitCode.AUTHENTICATION_FAILED, "username"),
        ("FATAL:  Tenant or user not found", ExitCode.AUTHENTICATION_FAILED, "username"),
        (
            "FATAL:  08P01: server login has been failing, cached error: password authentication "
            'failed for user "u" (server_login_retry)',
            ExitCode.AUTHENTICATION_FAILED,
            "username",
        ),
        (
            "FATAL:  08P01: unsupported startup parameter: options",
            ExitCode.SECRET_INVALID,
            "the server itself",
        ),
        ("FATAL:  XX000: internal error", ExitCode.CONNECTION_FAILED, "can't be reached"),
        # libpq's own.
        ("session is read-only", ExitCode.CONNECTION_FAILED, "targetSessionAttrs"),
        ("server is not in hot standby mode", ExitCode.CONNECTION_FAILED, "targetSessionAttrs"),
        ("session is not read-only", ExitCode.CONNECTION_FAILED, "targetSessionAttrs"),
        ("server is in hot standby mode", ExitCode.CONNECTION_FAILED, "targetSessionAttrs"),
        ("fe_sendauth: no password supplied", ExitCode.SECRET_INVALID, "the key password"),
        (
            "server does not support SSL, but SSL was required",
            ExitCode.AUTHENTICATION_FAILED,
            "sslmode: disable",
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
