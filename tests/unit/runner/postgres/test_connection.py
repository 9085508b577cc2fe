from collections.abc import Callable
from pathlib import Path

import pytest
from backupexport_contract.reasons import ExitCode
from backupexport_runner.postgres.connection import (
    Connection,
    hidden_values,
    in_the_clear,
    read_connection,
)
from backupexport_runner.task.failure import Failure
from backupexport_runner.task.secret import Secret
from hypothesis import given
from hypothesis import strategies as st
from secret_files import secret_of

Read = Callable[[dict[str, str]], Connection]

PEM = "-----BEGIN CERTIFICATE-----\nMII=\n-----END CERTIFICATE-----"
PLAIN = {
    "EXPORT_SECRET_NAME": "orders-db",
    "secret:host": "db",
    "secret:username": "app",
    "secret:password": "secret",
    "secret:database": "orders",
}
CLOUDNATIVEPG = {
    "EXPORT_SECRET_NAME": "cluster-app",
    "secret:dbname": "app",
    "secret:host": "cluster-rw",
    "secret:jdbc-uri": "jdbc:postgresql://cluster-rw.ns:5432/app?password=x&user=app",
    "secret:password": "secret",
    "secret:pgpass": "cluster-rw:5432:app:app:secret\n",
    "secret:port": "5432",
    "secret:uri": "postgresql://app:secret@cluster-rw.ns:5432/app",
    "secret:user": "app",
    "secret:username": "app",
}


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """What the runner makes of an environment and of a Secret's files."""

    def read(values: dict[str, str]) -> Connection:
        return read_connection(values, secret_of(values, tmp_path / "secret"))

    return read


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (PLAIN, Connection("db", "5432", "app", "orders")),
        (CLOUDNATIVEPG, Connection("cluster-rw.ns", "5432", "app", "app")),
        (
            {"secret:uri": "postgres://a%20b:s@[::1]:99/d%2Fb?sslmode=require"},
            Connection("::1", "99", "a b", "d/b", sslmode="require"),
        ),
        (
            {"secret:uri": "host=h user=u dbname='d b' password=s"},
            Connection("h", "5432", "u", "d b"),
        ),
        (
            {"secret:uri": "postgres://u:s@a:1,b:2/d?target_session_attrs=primary"},
            Connection("a,b", "1,2", "u", "d", more={"target_session_attrs": "primary"}),
        ),
        (
            # The URI fills what no key says.
            {"secret:uri": "postgres://u:s@h:99/d", "secret:host": "elsewhere"},
            Connection("elsewhere", "99", "u", "d"),
        ),
        (
            # A renamed URI beats keys that lie beside it.
            PLAIN | {"secret:chosen/uri": "postgres://u:s@pooler:99/d"},
            Connection("pooler", "99", "u", "d"),
        ),
        (
            PLAIN
            | {
                "secret:chosen/uri": "postgres://u:s@pooler:99/d",
                "secret:chosen/database": "chosen",
            },
            Connection("pooler", "99", "u", "chosen"),
        ),
        (PLAIN | {"secret:host": "db\n"}, Connection("db", "5432", "app", "orders")),
        (PLAIN | {"secret:port": " 99\n"}, Connection("db", "99", "app", "orders")),
        (PLAIN | {"secret:password": ""}, Connection("db", "5432", "app", "orders")),
        (
            # For another kind of client, and not needed.
            PLAIN | {"secret:uri": "jdbc:postgresql://db/orders"},
            Connection("db", "5432", "app", "orders"),
        ),
        (
            PLAIN | {"secret:uri": "postgres://h/d?application_name=x&client_encoding=latin1"},
            Connection("db", "5432", "app", "orders"),
        ),
    ],
)
def test_where_values_come_from(read: Read, values: dict[str, str], expected: Connection) -> None:
    found = read(values)
    for name in ("host", "port", "username", "database", "sslmode", "more"):
        assert getattr(found, name) == getattr(expected, name)


def test_passwords(read: Read) -> None:
    assert read(CLOUDNATIVEPG).password == "secret"
    assert read(PLAIN | {"secret:password": "$(X) 'p\n"}).password == "$(X) 'p"
    assert read(PLAIN | {"secret:chosen/password": "other"}).password == "other"
    assert read({"secret:uri": "postgres://u:a%40b@h/d"}).password == "a@b"
    assert read(PLAIN | {"secret:password": ""}).password is None


@pytest.mark.parametrize(
    ("values", "sslmode", "sslrootcert"),
    [
        ({}, "require", None),
        ({"secret:sslmode": "require"}, "require", None),
        ({"secret:sslmode": "disable"}, "disable", None),
        ({"secret:sslmode": "prefer"}, "prefer", None),
        ({"secret:ca.crt": PEM}, "verify-full", PEM),
        ({"secret:sslmode": "require", "EXPORT_SSLMODE": "disable"}, "disable", None),
        ({"secret:sslrootcert": PEM}, "verify-full", PEM),
        ({"secret:sslrootcert": PEM, "EXPORT_SSLROOTCERT": PEM + PEM}, "verify-full", PEM + PEM),
        ({"secret:sslrootcert": PEM, "secret:sslmode": "require"}, "require", PEM),
        ({"EXPORT_SSLMODE": "verify-full"}, "verify-full", "system"),
        ({"secret:uri": "postgres://h/d?sslmode=verify-full"}, "verify-full", "system"),
        ({"secret:uri": "postgres://h/d?sslrootcert=system"}, "verify-full", "system"),
        (
            {"secret:uri": "postgres://h/d?sslrootcert=/x", "EXPORT_SSLROOTCERT": PEM},
            "verify-full",
            PEM,
        ),
    ],
)
def test_encryption(
    read: Read, values: dict[str, str], sslmode: str | None, sslrootcert: str | None
) -> None:
    found = read(PLAIN | values)
    assert (found.sslmode, found.sslrootcert) == (sslmode, sslrootcert)


MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
said = st.none() | st.sampled_from(MODES)


@given(
    spec=said, key=said, uri=said, chosen=said, root=st.booleans(), of_spec=st.booleans(),
    beside=st.booleans(),
)  # fmt: skip
def test_tls_is_never_weaker_than_any_source_asks_for_unless_the_target_says_so(
    spec: str | None,
    key: str | None,
    uri: str | None,
    chosen: str | None,
    *,
    root: bool,
    of_spec: bool,
    beside: bool,
) -> None:
    well_known = {"username": "u", "password": "p", "database": "d"} | (
        {"host": "h"} if beside else {}
    )
    well_known["uri"] = "postgres://u:p@h/d" + (f"?sslmode={uri}" if uri else "")
    well_known |= {"sslmode": key} if key else {}
    well_known |= {"sslrootcert": PEM} if root and not of_spec else {}
    environment = {"EXPORT_SSLMODE": spec} if spec else {}
    environment |= {"EXPORT_SSLROOTCERT": PEM} if root and of_spec else {}
    secret = Secret(well_known, {"sslmode": chosen} if chosen else {})
    asked = [mode for mode in (key, uri, chosen) if mode]
    expected = spec or max(asked, key=MODES.index, default="verify-full" if root else "require")
    if (expected, root) == ("verify-ca", False):
        with pytest.raises(Failure, match="verify-ca needs"):
            read_connection(environment, secret)
        return
    found = read_connection(environment, secret)
    assert found.sslmode == expected
    assert found.sslrootcert == (PEM if root else "system" if expected == "verify-full" else None)


def test_what_the_target_says_itself_wins(read: Read) -> None:
    values = PLAIN | {
        "secret:uri": "postgres://u:s@pooler:99/d?target_session_attrs=primary",
        "EXPORT_HOST": "in-the-clear",
        "EXPORT_PORT": "1",
        "EXPORT_DATABASE": "its-own",
        "EXPORT_TARGET_SESSION_ATTRS": "standby",
    }
    found = read(values)
    assert (found.host, found.port, found.database) == ("in-the-clear", "1", "its-own")
    assert found.more == {"target_session_attrs": "standby"}
    assert {"in-the-clear", "1", "its-own"} <= set(in_the_clear(values))


ENCRYPTED = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMII=\n-----END ENCRYPTED PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("values", "verified"),
    [
        ({}, False),
        ({"secret:sslmode": "disable"}, False),
        ({"secret:sslmode": "prefer", "secret:sslrootcert": PEM}, False),
        ({"secret:sslmode": "require", "secret:sslrootcert": PEM}, True),
        ({"secret:sslrootcert": PEM}, True),
        ({"EXPORT_SSLMODE": "verify-full"}, True),
        ({"EXPORT_SSLMODE": "verify-ca", "EXPORT_SSLROOTCERT": PEM}, True),
    ],
)
def test_an_installation_may_refuse_servers_that_are_not_verified(
    read: Read, values: dict[str, str], *, verified: bool
) -> None:
    assert read(PLAIN | values).verifies_server is verified
    refusing = PLAIN | values | {"EXPORT_REQUIRE_VERIFIED_TLS": "1"}
    if verified:
        assert read(refusing).verifies_server
        return
    with pytest.raises(Failure, match="not verified") as failure:
        read(refusing)
    assert failure.value.exit_code == ExitCode.SECRET_INVALID


KEY = "-----BEGIN EC PRIVATE KEY-----\nMII=\n-----END EC PRIVATE KEY-----"


@pytest.mark.parametrize(("certificate", "key"), [("sslcert", "sslkey"), ("tls.crt", "tls.key")])
def test_client_certificates(read: Read, certificate: str, key: str) -> None:
    found = read(PLAIN | {f"secret:{certificate}": PEM, f"secret:{key}": KEY})
    assert (found.sslcert, found.sslkey) == (PEM, KEY)
    assert "MII=" not in repr(found).replace(repr(PEM), "")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"secret:host": ""}, "names no host .looked for the keys host, uri."),
        ({"secret:username": ""}, "names no username .looked for the keys username, user, uri."),
        ({"secret:database": ""}, "names no database .looked for the keys database, dbname, uri."),
        ({"secret:database": "*"}, "names no database"),
        ({"secret:port": "0"}, "a port that is no number"),
        ({"secret:port": "65536"}, "a port that is no number"),
        ({"secret:port": "CANARY"}, "a port that is no number"),
        ({"secret:port": "5432,CANARY"}, "a port that is no number"),
        ({"secret:host": "CANARY\x01"}, "a control character in its host"),
        ({"secret:host": "CANARY=" * 9}, "a host that is neither a host name nor an IP address"),
        ({"secret:host": "canary" * 11}, "a host that is neither"),
        ({"secret:host": "db,CANARY/x"}, "a host that is neither"),
        ({"secret:host": "/var/run/CANARY"}, "a host that is neither"),
        ({"secret:host": "@CANARY"}, "a host that is neither"),
        ({"secret:host": "db,"}, "a host that is neither"),
        ({"secret:chosen/host": "CANARY db"}, "a host that is neither"),
        ({"secret:host": "", "secret:uri": "postgres://%2Ftmp%2FCANARY/d"}, "a host that is neith"),
        ({"secret:database": "CANARY\nx"}, "a control character in its database"),
        ({"secret:sslmode": "CANARY"}, "an unknown sslmode"),
        ({"secret:sslrootcert": "/CANARY.pem"}, "an sslrootcert that is not PEM"),
        ({"secret:sslmode": "verify-ca"}, "holds no sslrootcert"),
        ({"secret:sslcert": PEM}, "without its sslkey"),
        ({"secret:tls.key": KEY}, "without its sslcert"),
        ({"secret:sslcert": PEM, "secret:sslkey": "/CANARY.key"}, "an sslkey that is not PEM"),
        ({"secret:sslcert": "CANARY", "secret:sslkey": KEY}, "an sslcert that is not PEM"),
        ({"secret:sslcert": PEM, "secret:sslkey": ENCRYPTED}, "an sslkey with a passphrase"),
        # Beside keys that need no URI, too.
        ({"secret:uri": "postgres://h/d?options=CANARY"}, "the parameter options"),
        ({"secret:uri": "postgres://h/d?hostaddr=10.0.0.1"}, "the parameter hostaddr"),
        ({"secret:uri": "postgres://h/d?sslcrl=CANARY"}, "the parameter sslcrl"),
        ({"secret:uri": "postgres://h/d?sslpassword=CANARY"}, "the parameter sslpassword"),
        ({"secret:uri": "postgres://h/d?gssencmode=require"}, "the parameter gssencmode"),
        ({"secret:uri": "postgres://h/d?sslcert=CANARY&sslkey=CANARY"}, "an sslcert that is not"),
        ({"secret:uri": "postgres://h/d?sslmode=verify-full&odd=CANARY"}, "the parameter odd"),
        ({"secret:uri": "mysql://h/CANARY?ssl=true"}, "says something about TLS"),
        ({"secret:uri": "Host=h;Password=CANARY;SSL Mode=VerifyFull"}, "says something about TLS"),
        ({"secret:uri": "sslmode=verify-full CANARY"}, "says something about TLS"),
        ({"secret:uri": "postgres://h/d?timeout=1;sslmode=verify-full"}, "the parameter timeout"),
        ({"secret:uri": "postgres://h/d?max=5?sslmode=verify-full"}, "the parameter max"),
        ({"secret:uri": "mysql://h/CANARY?useSSL=1&ssl_ca=x"}, "says something about TLS"),
        # Of other drivers, and not harmless, or of a value that nobody knows.
        ({"secret:uri": "postgres://h/d?sslfactory=CANARY"}, "the parameter sslfactory"),
        ({"secret:uri": "postgres://h/d?sslidentity=CANARY"}, "the parameter sslidentity"),
        ({"secret:uri": "postgres://h/d?sslaccept=CANARY"}, "the parameter sslaccept"),
        ({"secret:uri": "postgres://h/d?ssl=CANARY"}, "the parameter ssl,"),
        ({"secret:uri": "postgres://h/d?targetServerType=CANARY"}, "the parameter targetServerTy"),
        ({"secret:uri": "postgres://h/d?user=u&%6fdd=CANARY"}, "the parameter odd"),
        ({"secret:fqdn-uri": "postgres://h/d?options=CANARY"}, "the parameter options"),
        ({"secret:host": "", "secret:uri": "postgres://u:CAN%zzARY@h/d"}, "libpq can't read"),
        ({"secret:host": "", "secret:uri": "mysql://u:CANARY@h/d"}, "libpq can't read"),
        (
            {"secret:host": "", "secret:uri": "postgres://u:CANARY@h/d?odd=CANARY"},
            "the parameter odd",
        ),
        (
            # A password that isn't encoded: no piece of it is taken for a name.
            {"secret:host": "", "secret:uri": "postgres://u:x/CAN?ARY=z@h/d"},
            "libpq can't read",
        ),
        ({"secret:host": "", "secret:uri": "postgres://h/d?CANARY"}, "libpq can't read"),
        ({"secret:host": "", "secret:uri": "postgis://u:CANARY@h/d"}, "begin it with postgresql"),
        (
            {"secret:host": "", "secret:uri": "jdbc:postgresql:CANARY"},
            "begin it with postgresql",
        ),
        (
            {"secret:host": "", "secret:uri": "postgres://h/d?options=CANARY"},
            "the parameter options",
        ),
        (
            {"secret:host": "", "secret:uri": "postgres://h/d?service=CANARY"},
            "the parameter service",
        ),
        (
            {"secret:host": "", "secret:uri": "postgres://h/d?passfile=CANARY"},
            "the parameter passfile",
        ),
        (
            {"secret:host": "", "secret:uri": "postgres://h/d?hostaddr=10.0.0.1"},
            "the parameter hostaddr",
        ),
    ],
)
def test_what_is_wrong_with_a_secret(read: Read, values: dict[str, str], words: str) -> None:
    with pytest.raises(Failure, match=words) as failure:
        read(PLAIN | values)
    assert failure.value.exit_code == ExitCode.SECRET_INVALID
    assert 'Secret "orders-db"' in failure.value.message
    assert "CANARY" not in failure.value.message


@pytest.mark.parametrize(
    "host",
    [
        "db",
        "db.example.",
        "a_b-c.svc",
        "a,b.c,10.0.0.1",
        "::1",
        "fe80::1%eth0",
        "10.0.0.1",
        "x" * 63,
    ],
)
def test_hosts(read: Read, host: str) -> None:
    assert read(PLAIN | {"secret:host": host}).host == host


@pytest.mark.parametrize(
    ("host", "expected"),
    [("[::1]", "::1"), ("[2001:db8::1234],db,[fe80::1]", "2001:db8::1234,db,fe80::1")],
)
def test_brackets_around_an_address(read: Read, host: str, expected: str) -> None:
    assert read(PLAIN | {"secret:host": host}).host == expected
    assert read(PLAIN | {"EXPORT_HOST": host}).host == expected


WHOLE = Connection("db", "5432", "app", "orders", "secret")


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\n\n"])
@pytest.mark.parametrize(
    "values",
    [
        PLAIN | {"secret:port": "5432", "secret:sslmode": "require"},
        {"secret:uri": "postgresql://app:secret@db/orders?sslmode=require"},
        {"secret:fqdn-uri": "postgresql://app:secret@db/orders"},
        {"secret:uri": "host=db user=app dbname=orders password=secret"},
        {"secret:uri": "jdbc:postgresql://db/orders?user=app&password=secret"},
        {f"secret:chosen/{name}": value for name, value in
         (("host", "db"), ("username", "app"), ("password", "secret"), ("database", "orders"))},
        {"secret:username": "app", "secret:password": "secret", "EXPORT_HOST": "db",
         "EXPORT_PORT": "5432", "EXPORT_DATABASE": "orders", "EXPORT_SSLMODE": "require"},
    ],
)  # fmt: skip
def test_a_newline_at_the_end_of_any_value(
    read: Read, values: dict[str, str], newline: str
) -> None:
    ended = {key: value + newline for key, value in values.items() if key != "EXPORT_SECRET_NAME"}
    assert read(ended) == WHOLE


LIBPQ = "postgresql://"


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        # All that libpq's documentation gives (34.1.1.2), in its order; what a form leaves out
        # stands beside it.
        (LIBPQ, ("beside", "5432", "app", "orders")),
        (LIBPQ + "localhost", ("localhost", "5432", "app", "orders")),
        (LIBPQ + "localhost:5433", ("localhost", "5433", "app", "orders")),
        (LIBPQ + "localhost/mydb", ("localhost", "5432", "app", "mydb")),
        (LIBPQ + "user@localhost", ("localhost", "5432", "user", "orders")),
        (LIBPQ + "user:secret@localhost", ("localhost", "5432", "user", "orders")),
        (
            LIBPQ + "other@localhost/otherdb?connect_timeout=10&application_name=myapp",
            ("localhost", "5432", "other", "otherdb"),
        ),
        (
            LIBPQ + "host1:123,host2:456/somedb?target_session_attrs=any&application_name=myapp",
            ("host1,host2", "123,456", "app", "somedb"),
        ),
        (LIBPQ + "/mydb?host=localhost&port=5433", ("localhost", "5433", "app", "mydb")),
        (LIBPQ + "[2001:db8::1234]/database", ("2001:db8::1234", "5432", "app", "database")),
        (LIBPQ + "a,b:456/d", ("a,b", "5432,456", "app", "d")),
        (LIBPQ + "a,b/d", ("a,b", "5432,5432", "app", "d")),
        (LIBPQ + "[::1]:99,[::2]:98/d", ("::1,::2", "99,98", "app", "d")),
        # The other scheme, parts in percent-encoding, and everything as parameters.
        ("postgres://localhost/mydb", ("localhost", "5432", "app", "mydb")),
        ("POSTGRESQL://localhost/mydb", ("localhost", "5432", "app", "mydb")),
        (
            LIBPQ + "us%65r%40x:p%3Ass@host%2Dname:5%34/d%20b%2F",
            ("host-name", "54", "user@x", "d b/"),
        ),
        (LIBPQ + "u:s?e&c=r@h/d", ("h", "5432", "u", "d")),
        (LIBPQ + "?host=h&port=1&user=u&dbname=d", ("h", "1", "u", "d")),
        (LIBPQ + "h/d?%75ser=u", ("h", "5432", "u", "d")),
        # libpq's keywords and values.
        ("host=localhost port=5433 dbname=mydb", ("localhost", "5433", "app", "mydb")),
        ("host = 'h' user='a b' dbname='it\\'s'", ("h", "5432", "a b", "it's")),
        # Other drivers'.
        ("jdbc:postgresql://h:99/d?user=u&password=s", ("h", "99", "u", "d")),
        ("jdbc:postgresql://a:1,b:2/d", ("a,b", "1,2", "app", "d")),
        ("postgresql+asyncpg://u:s@h:99/d", ("h", "99", "u", "d")),
        ("postgresql+psycopg2://u:s@h/d", ("h", "5432", "u", "d")),
        ("postgres+psycopg://u:s@h/d", ("h", "5432", "u", "d")),
    ],
)
def test_forms_of_a_uri(read: Read, uri: str, expected: tuple[str, ...]) -> None:
    beside = {
        "secret:username": "app",
        "secret:password": "secret",
        "secret:database": "orders",
        "secret:host": "beside",
    }
    found = read(beside | {"secret:chosen/uri": uri})
    assert (found.host, found.port, found.username, found.database) == expected


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        (LIBPQ + "/dbname?host=/var/lib/CANARY", "a host that is neither"),
        (LIBPQ + "%2Fvar%2Flib%2FCANARY/dbname", "a host that is neither"),
        (LIBPQ + "u@h/d?options=-c%20synchronous_commit%3Doff", "the parameter options"),
        (LIBPQ + "u@h/d?hostaddr=10.0.0.1", "the parameter hostaddr"),
        (LIBPQ + "u@[::1/d", "libpq can't read"),
        (LIBPQ + "u@h:port/d", "a port that is no number"),
        (LIBPQ + "u%zz@h/d", "libpq can't read"),
        (LIBPQ + "u@h/d?odd=1", "the parameter odd"),
    ],
)
def test_forms_of_a_uri_that_are_refused(read: Read, uri: str, words: str) -> None:
    with pytest.raises(Failure, match=words) as failure:
        read({"secret:password": "secret", "secret:chosen/uri": uri})
    assert failure.value.exit_code == ExitCode.SECRET_INVALID
    assert "CANARY" not in failure.value.message


@pytest.mark.parametrize(
    ("parameters", "ignored"),
    [
        (
            "schema=public&connection_limit=5&pgbouncer=true&pool_timeout=10",
            ("schema", "connection_limit", "pgbouncer", "pool_timeout"),
        ),
        (
            "currentSchema=a&prepareThreshold=0&ApplicationName=x&loginTimeout=3",
            ("currentSchema", "prepareThreshold", "ApplicationName", "loginTimeout"),
        ),
        (
            "pool_max_conns=4&default_query_exec_mode=exec&statement-cache-capacity=1",
            ("pool_max_conns", "default_query_exec_mode", "statement-cache-capacity"),
        ),
        (
            "prepared_statement_cache_size=0&pool=5&prepared_statements=false&search_path=x",
            ("prepared_statement_cache_size", "pool", "prepared_statements", "search_path"),
        ),
        ("application_name=x&sslaccept=accept_invalid_certs", ()),
    ],
)
def test_harmless_parameters_of_other_drivers_are_left_out_by_name(
    read: Read, parameters: str, ignored: tuple[str, ...]
) -> None:
    for scheme in (LIBPQ, "jdbc:postgresql://", "postgresql+asyncpg://"):
        found = read({"secret:uri": f"{scheme}u:s@h/d?{parameters}"})
        assert found.ignored == ignored
        assert (found.host, found.database, found.sslmode, found.more) == ("h", "d", "require", {})


@pytest.mark.parametrize(
    ("uri", "sslmode"),
    [
        (LIBPQ + "u:s@h/d?ssl=true", "require"),
        (LIBPQ + "u:s@h/d?ssl=verify-full", "verify-full"),
        (LIBPQ + "u:s@h/d?ssl=false", "disable"),
        (LIBPQ + "u:s@h/d?sslaccept=strict", "verify-full"),
        (LIBPQ + "u:s@h/d?sslaccept=strict&sslmode=prefer", "verify-full"),
        (LIBPQ + "u:s@h/d?sslaccept=accept_invalid_certs&sslmode=verify-full", "verify-full"),
        ("jdbc:postgresql://u:s@h/d?ssl=true", "verify-full"),
        ("jdbc:postgresql://u:s@h/d?ssl", "verify-full"),
        ("jdbc:postgresql://u:s@h/d?ssl=true&sslmode=require", "verify-full"),
        ("jdbc:postgresql://u:s@h/d?sslmode=prefer", "prefer"),
        # Of several the strictest.
        (LIBPQ + "u:s@h/d?sslmode=verify-full&sslmode=disable", "verify-full"),
        (LIBPQ + "u:s@h/d?sslmode=disable&sslmode=verify-full", "verify-full"),
    ],
)
def test_what_other_drivers_say_of_tls_is_obeyed(read: Read, uri: str, sslmode: str) -> None:
    assert read({"secret:uri": uri}).sslmode == sslmode


@pytest.mark.parametrize(
    ("said", "attributes"), [("primary", "primary"), ("secondary", "standby"),
                             ("preferSecondary", "prefer-standby"), ("any", "any")],
)  # fmt: skip
def test_which_server_jdbc_asks_for(read: Read, said: str, attributes: str) -> None:
    found = read({"secret:uri": f"jdbc:postgresql://u:s@a,b/d?targetServerType={said}"})
    assert found.more == {"target_session_attrs": attributes}


FQDN = "postgresql://app:secret@cluster-rw.ns.svc.cluster.local:5432/app"


@pytest.mark.parametrize(
    ("values", "host"),
    [
        # As CloudNativePG wrote them over time, and copied into another namespace.
        (CLOUDNATIVEPG, "cluster-rw.ns"),
        (CLOUDNATIVEPG | {"secret:fqdn-uri": FQDN}, "cluster-rw.ns"),
        (
            CLOUDNATIVEPG
            | {
                "secret:uri": "postgresql://app:secret@cluster-rw:5432/app",
                "secret:fqdn-uri": FQDN,
            },
            "cluster-rw.ns.svc.cluster.local",
        ),
        (
            {"secret:uri": "postgresql://app:s@cluster-rw:5432/app", "secret:fqdn-uri": FQDN},
            "cluster-rw.ns.svc.cluster.local",
        ),
        # Said by the target, whole already, or of another server.
        (CLOUDNATIVEPG | {"EXPORT_HOST": "cluster-rw"}, "cluster-rw"),
        (CLOUDNATIVEPG | {"secret:host": "cluster-rw.other"}, "cluster-rw.other"),
        (CLOUDNATIVEPG | {"secret:host": "cluster"}, "cluster"),
        (CLOUDNATIVEPG | {"secret:host": "10.0.0.1"}, "10.0.0.1"),
    ],
)
def test_the_whole_name_of_a_copied_secrets_host(
    read: Read, values: dict[str, str], host: str
) -> None:
    assert read(values).host == host


def test_user_and_password_alone_with_the_rest_in_the_target(read: Read) -> None:
    found = read(
        {
            "secret:username": "app",
            "secret:password": "secret",
            "EXPORT_HOST": "db.example",
            "EXPORT_PORT": "99",
            "EXPORT_DATABASE": "orders",
            "EXPORT_SSLMODE": "disable",
            "EXPORT_TARGET_SESSION_ATTRS": "prefer-standby",
        }
    )
    assert found == Connection(
        "db.example",
        "99",
        "app",
        "orders",
        "secret",
        sslmode="disable",
        more={"target_session_attrs": "prefer-standby"},
    )


def test_values_of_parameters_that_are_left_out_are_hidden(tmp_path: Path) -> None:
    uri = "postgres://u:s@h/d?schema=tenant_name"
    _, names = hidden_values(secret_of({"secret:uri": uri}, tmp_path / "hidden"), ())
    assert "tenant_name" in names
    assert "schema" not in names
    refused = "postgres://u:s@h/d?odd=tenant_name"
    _, names = hidden_values(secret_of({"secret:uri": refused}, tmp_path / "refused"), ())
    assert "tenant_name" in names
    assert "odd" not in names


def test_every_value_is_hidden_but_what_stands_in_the_clear(tmp_path: Path, read: Read) -> None:
    values = CLOUDNATIVEPG | {
        "secret:chosen/password": "renamed",
        "secret:chosen/host": "signing-secret",
        "secret:sslmode": "require",
    }
    secrets, names = hidden_values(secret_of(values, tmp_path / "hidden"), {"app"})
    assert {"secret", "renamed", values["secret:uri"]} <= set(secrets)
    assert {"signing-secret", "cluster-rw", "cluster-rw.ns", "5432"} <= set(names)
    assert not {"app", "require"} & set(names)
    assert "secret" not in repr(read(CLOUDNATIVEPG))


@pytest.mark.parametrize("uri", ["postgres://u:CAN%zzARY@h/d", "mysql://u:CANARY@h/d?x=y"])
def test_the_parts_of_a_uri_that_cannot_be_read_are_hidden(tmp_path: Path, uri: str) -> None:
    secrets, names = hidden_values(secret_of({"secret:uri": uri}, tmp_path / "hidden"), ())
    assert secrets == [uri]
    assert any("ARY" in name for name in names)
