import pytest
from backupexport_contract.reasons import ExitCode
from backupexport_runner.postgres.connection import Connection, read_connection, secret_values
from backupexport_runner.task.failure import Failure

PEM = "-----BEGIN CERTIFICATE-----\nMII=\n-----END CERTIFICATE-----"
PLAIN = {
    "EXPORT_SECRET_NAME": "orders-db",
    "SECRET_host": "db",
    "SECRET_username": "app",
    "SECRET_password": "secret",
    "SECRET_database": "orders",
}
CLOUDNATIVEPG = {
    "EXPORT_SECRET_NAME": "cluster-app",
    "SECRET_dbname": "app",
    "SECRET_host": "cluster-rw",
    "SECRET_jdbc-uri": "jdbc:postgresql://cluster-rw.ns:5432/app?password=x&user=app",
    "SECRET_password": "secret",
    "SECRET_pgpass": "cluster-rw:5432:app:app:secret\n",
    "SECRET_port": "5432",
    "SECRET_uri": "postgresql://app:secret@cluster-rw.ns:5432/app",
    "SECRET_user": "app",
    "SECRET_username": "app",
}


def read(values: dict[str, str]) -> Connection:
    return read_connection(values)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (PLAIN, Connection("db", "5432", "app", "orders")),
        (CLOUDNATIVEPG, Connection("cluster-rw", "5432", "app", "app")),
        (
            {"SECRET_uri": "postgres://a%20b:s@[::1]:99/d%2Fb?sslmode=require"},
            Connection("::1", "99", "a b", "d/b", sslmode="require"),
        ),
        (
            {"SECRET_uri": "host=h user=u dbname='d b' password=s"},
            Connection("h", "5432", "u", "d b"),
        ),
        (
            {"SECRET_uri": "postgres://u:s@a:1,b:2/d?target_session_attrs=primary"},
            Connection("a,b", "1,2", "u", "d", more={"target_session_attrs": "primary"}),
        ),
        (
            # The URI fills what no key says.
            {"SECRET_uri": "postgres://u:s@h:99/d", "SECRET_host": "elsewhere"},
            Connection("elsewhere", "99", "u", "d"),
        ),
        (
            # A renamed URI beats keys that lie beside it.
            PLAIN | {"KEY_URI": "postgres://u:s@pooler:99/d"},
            Connection("pooler", "99", "u", "d"),
        ),
        (
            PLAIN | {"KEY_URI": "postgres://u:s@pooler:99/d", "KEY_DATABASE": "chosen"},
            Connection("pooler", "99", "u", "chosen"),
        ),
        (PLAIN | {"SECRET_host": "db\n"}, Connection("db", "5432", "app", "orders")),
        (PLAIN | {"SECRET_port": " 99\n"}, Connection("db", "99", "app", "orders")),
        (PLAIN | {"SECRET_password": ""}, Connection("db", "5432", "app", "orders")),
        (
            # For another kind of client, and not needed.
            PLAIN | {"SECRET_uri": "jdbc:postgresql://db/orders"},
            Connection("db", "5432", "app", "orders"),
        ),
        (
            PLAIN | {"SECRET_uri": "postgres://h/d?application_name=x&client_encoding=latin1"},
            Connection("db", "5432", "app", "orders"),
        ),
    ],
)
def test_where_values_come_from(values: dict[str, str], expected: Connection) -> None:
    found = read(values)
    for name in ("host", "port", "username", "database", "sslmode", "more"):
        assert getattr(found, name) == getattr(expected, name)


def test_passwords() -> None:
    assert read(CLOUDNATIVEPG).password == "secret"
    assert read(PLAIN | {"SECRET_password": "$(X) 'p\n"}).password == "$(X) 'p"
    assert read(PLAIN | {"KEY_PASSWORD": "other"}).password == "other"
    assert read({"SECRET_uri": "postgres://u:a%40b@h/d"}).password == "a@b"
    assert read(PLAIN | {"SECRET_password": ""}).password is None


@pytest.mark.parametrize(
    ("values", "sslmode", "sslrootcert"),
    [
        ({}, None, None),
        ({"SECRET_sslmode": "require"}, "require", None),
        ({"SECRET_sslmode": "require", "EXPORT_SSLMODE": "disable"}, "disable", None),
        ({"SECRET_sslrootcert": PEM}, "verify-full", PEM),
        ({"SECRET_sslrootcert": PEM, "EXPORT_SSLROOTCERT": PEM + PEM}, "verify-full", PEM + PEM),
        ({"SECRET_sslrootcert": PEM, "SECRET_sslmode": "require"}, "require", PEM),
        ({"EXPORT_SSLMODE": "verify-full"}, "verify-full", "system"),
        ({"SECRET_uri": "postgres://h/d?sslmode=verify-full"}, "verify-full", "system"),
        ({"SECRET_uri": "postgres://h/d?sslrootcert=system"}, "verify-full", "system"),
        (
            {"SECRET_uri": "postgres://h/d?sslrootcert=/x", "EXPORT_SSLROOTCERT": PEM},
            "verify-full",
            PEM,
        ),
    ],
)
def test_encryption(values: dict[str, str], sslmode: str | None, sslrootcert: str | None) -> None:
    found = read(PLAIN | values)
    assert (found.sslmode, found.sslrootcert) == (sslmode, sslrootcert)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"SECRET_host": ""}, "names no host .looked for the keys host, uri."),
        ({"SECRET_username": ""}, "names no username .looked for the keys username, user, uri."),
        ({"SECRET_database": ""}, "names no database .looked for the keys database, dbname, uri."),
        ({"SECRET_database": "*"}, "names no database"),
        ({"SECRET_port": "0"}, "a port that is no number"),
        ({"SECRET_port": "65536"}, "a port that is no number"),
        ({"SECRET_port": "CANARY"}, "a port that is no number"),
        ({"SECRET_port": "5432,CANARY"}, "a port that is no number"),
        ({"SECRET_host": "CANARY\x00"}, "a control character in its host"),
        ({"SECRET_database": "CANARY\nx"}, "a control character in its database"),
        ({"SECRET_sslmode": "CANARY"}, "an unknown sslmode"),
        ({"SECRET_sslrootcert": "/CANARY.pem"}, "an sslrootcert that is not PEM"),
        ({"SECRET_sslmode": "verify-ca"}, "holds no sslrootcert"),
        ({"SECRET_host": "", "SECRET_uri": "postgres://u:CAN%zzARY@h/d"}, "libpq can't read"),
        ({"SECRET_host": "", "SECRET_uri": "mysql://u:CANARY@h/d"}, "libpq can't read"),
        (
            {"SECRET_host": "", "SECRET_uri": "postgres://u:CANARY@h/d?pool=CANARY"},
            "libpq can't read",
        ),
        (
            {"SECRET_host": "", "SECRET_uri": "postgres://h/d?options=CANARY"},
            "the parameter options",
        ),
        (
            {"SECRET_host": "", "SECRET_uri": "postgres://h/d?service=CANARY"},
            "the parameter service",
        ),
        (
            {"SECRET_host": "", "SECRET_uri": "postgres://h/d?passfile=CANARY"},
            "the parameter passfile",
        ),
        (
            {"SECRET_host": "", "SECRET_uri": "postgres://h/d?hostaddr=10.0.0.1"},
            "the parameter hostaddr",
        ),
    ],
)
def test_what_is_wrong_with_a_secret(values: dict[str, str], words: str) -> None:
    with pytest.raises(Failure, match=words) as failure:
        read(PLAIN | values)
    assert failure.value.exit_code == ExitCode.SECRET_INVALID
    assert 'Secret "orders-db"' in failure.value.message
    assert "CANARY" not in failure.value.message


def test_secrets_to_hide() -> None:
    values = CLOUDNATIVEPG | {"KEY_PASSWORD": "renamed"}
    hidden = secret_values(values)
    assert "secret" in hidden
    assert "renamed" in hidden
    assert values["SECRET_uri"] in hidden
    assert "cluster-rw" not in hidden
    assert "secret" not in repr(read(CLOUDNATIVEPG))
