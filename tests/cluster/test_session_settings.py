"""What is set for a role or a database changes nothing in a dump of a real server."""

import secrets
from dataclasses import dataclass

import pytest
from failing_exports import Attempted, begin
from installation import Installation

pytestmark = pytest.mark.cluster

DATABASE, PLAIN, SETTLED, POOR = "settings", "settings_plain", "settings_settled", "settings_poor"
_ROLES = f"""
CREATE ROLE {POOR};
CREATE ROLE {PLAIN} LOGIN PASSWORD :'password' IN ROLE pg_read_all_data, {POOR};
CREATE ROLE {SETTLED} LOGIN PASSWORD :'password' IN ROLE pg_read_all_data, {POOR};
CREATE DATABASE {DATABASE} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C.UTF-8';
"""
# Values that each of the settings below would write in another way, or could not.
_TABLES = """
CREATE SCHEMA elsewhere;
CREATE TABLE elsewhere.kept (id int PRIMARY KEY, name text, day date, at timestamptz,
    lasts interval, size float8, bytes bytea);
INSERT INTO elsewhere.kept VALUES
    (1, 'ünïcode € 漢字 🐘', '2026-02-01', '2026-02-01 03:04:05+00', '1 day 02:03:04',
     0.1::float8 + 0.2::float8, '\\x00ff5c'),
    (2, 'plain', '1999-12-31', '1999-12-31 23:59:59+00', '-3 months', 1e-300, '\\x');
CREATE VIEW elsewhere.seen AS SELECT k.name, k.day FROM elsewhere.kept k;
CREATE FUNCTION elsewhere.next(id int) RETURNS int LANGUAGE sql AS 'SELECT id + 1';
ALTER TABLE elsewhere.kept ENABLE ROW LEVEL SECURITY;
"""
# Of the roles, BYPASSRLS alone sees the rows above.
_RIGHTS = f"ALTER ROLE {PLAIN} BYPASSRLS; ALTER ROLE {SETTLED} BYPASSRLS;"
SETTINGS = {
    "client_encoding": "LATIN1",
    "search_path": "elsewhere",
    "datestyle": "German",
    "intervalstyle": "iso_8601",
    "extra_float_digits": "-15",
    "bytea_output": "escape",
    "quote_all_identifiers": "on",
    "statement_timeout": "500ms",
    "lock_timeout": "500ms",
    "idle_in_transaction_session_timeout": "500ms",
    "transaction_timeout": "1s",
    "default_transaction_read_only": "on",
    "default_transaction_deferrable": "on",
    "default_transaction_isolation": "serializable",
    "row_security": "off",
    "role": POOR,
}


@dataclass(frozen=True)
class Dumped:
    """The dumps' texts by who is set what."""

    baseline: str
    by_role: str
    by_database: str


def _set(installation: Installation, what: str) -> None:
    sql = (f"ALTER {what} SET {name} = '{value}';" for name, value in SETTINGS.items())
    installation.server.psql("\n".join(sql))


def _text(installation: Installation, export: Attempted) -> str:
    status = export.ended()
    assert status["phase"] == "Succeeded", status
    text = installation.volume.run("cat", status["artifact"]["path"])
    # The key of these two is made up for each dump.
    kept = (line for line in text.splitlines() if not line.startswith(("\\restrict", "\\unrestr")))
    return "\n".join(kept)


@pytest.fixture(scope="module")
def dumped(installation: Installation) -> Dumped:
    server, namespace = installation.server, installation.namespace
    password = secrets.token_urlsafe(16)
    server.psql(_ROLES, "postgres", "-v", f"password={password}")
    server.psql(_TABLES, DATABASE)
    server.psql(_RIGHTS)
    plain = {
        "host": server.host, "username": PLAIN, "password": password, "database": DATABASE,
        "sslmode": "disable",
    }  # fmt: skip
    _set(installation, f"ROLE {SETTLED}")
    settled = {**plain, "username": SETTLED}
    first = [
        begin(namespace, "settings-baseline", plain, compress=False),
        begin(namespace, "settings-role", settled, compress=False),
    ]
    baseline, by_role = (_text(installation, export) for export in first)
    _set(installation, f"DATABASE {DATABASE}")
    by_database = _text(installation, begin(namespace, "settings-database", plain, compress=False))
    server.psql(f"DROP DATABASE {DATABASE} WITH (FORCE)")
    return Dumped(baseline, by_role, by_database)


def test_the_dump_has_what_is_in_the_database(dumped: Dumped) -> None:
    assert "SET client_encoding = 'UTF8';" in dumped.baseline
    assert (
        "1\tünïcode € 漢字 🐘\t2026-02-01\t2026-02-01 03:04:05+00\t1 day 02:03:04\t"
        "0.30000000000000004\t\\\\x00ff5c"
    ) in dumped.baseline


def test_what_is_set_for_the_role_changes_nothing(dumped: Dumped) -> None:
    assert dumped.by_role == dumped.baseline


def test_what_is_set_for_the_database_changes_nothing(dumped: Dumped) -> None:
    assert dumped.by_database == dumped.baseline
