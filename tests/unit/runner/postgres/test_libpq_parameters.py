import stat
from dataclasses import replace
from pathlib import Path

import pytest
from backupexport_runner.postgres.connection import Connection
from backupexport_runner.postgres.libpq_parameters import (
    child_environment,
    libpq_parameters,
    session_parameters,
    write_certificates,
)

CONNECTION = Connection(
    "db", "5432", "app", "--file=/etc/x", "secret", more={"channel_binding": "require"}
)


def test_the_child_gets_libpq_variables_and_nothing_else(tmp_path: Path) -> None:
    parameters = libpq_parameters(CONNECTION, {"sslrootcert": "/tmp/ca"}, "the-job")
    assert child_environment(parameters, tmp_path) == {
        "PATH": "/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
        "HOME": str(tmp_path),
        "SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt",
        "PGHOST": "db",
        "PGPORT": "5432",
        "PGUSER": "app",
        "PGPASSWORD": "secret",
        "PGDATABASE": "--file=/etc/x",
        "PGAPPNAME": "backupexport the-job",
        "PGCONNECT_TIMEOUT": "10",
        "PGGSSENCMODE": "disable",
        "PGSSLMODE": "require",
        "PGSSLROOTCERT": "/tmp/ca",
        "PGREQUIREAUTH": "!password",
        "PGCHANNELBINDING": "require",
    }


def test_the_session_of_a_dump_in_its_environment(tmp_path: Path) -> None:
    session = session_parameters("LATIN1", 16, is_direct=True)
    environment = child_environment(session, tmp_path)
    assert environment["PGCLIENTENCODING"] == "LATIN1"
    # pg_dump goes back to this path to find the tables of a pattern that names no schema.
    assert environment["PGOPTIONS"].startswith('-c role=none -c search_path="$user",public -c ')
    # Which an older server doesn't know, and would refuse.
    assert "transaction_timeout" not in environment["PGOPTIONS"].replace("in_transaction", "")
    assert "-c transaction_timeout=0" in session_parameters("UTF8", 17, is_direct=True)["options"]
    assert session_parameters("UTF8", 17, is_direct=False) == {"client_encoding": "UTF8"}


def test_certificates_lie_in_a_private_file(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    (tmp_path / "sslrootcert.pem").symlink_to(target)
    pem = {"sslrootcert": "CA", "sslcert": "CERTIFICATE", "sslkey": "KEY"}
    connection = replace(
        CONNECTION, sslrootcert=pem["sslrootcert"], sslcert=pem["sslcert"], sslkey=pem["sslkey"]
    )
    paths = write_certificates(connection, tmp_path)
    assert paths == {keyword: str(tmp_path / f"{keyword}.pem") for keyword in pem}
    for keyword, path in paths.items():
        assert Path(path).read_text() == pem[keyword] + "\n"
        assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
    assert not target.exists()


@pytest.mark.parametrize("value", [None, "system"])
def test_without_certificates_there_is_no_file(tmp_path: Path, value: str | None) -> None:
    written = write_certificates(Connection("h", "1", "u", "d", sslrootcert=value), tmp_path)
    assert written == ({"sslrootcert": value} if value else {})
    assert list(tmp_path.iterdir()) == []
