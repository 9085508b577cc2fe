"""Dumps that a real server lets fail: the right cause, and another attempt where that may heal."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from failing_exports import (
    Attempted,
    assert_explained,
    assert_failed_at_once,
    assert_tried_again_and_failed,
    begin,
)
from installation import Installation
from playground.postgres import Postgres
from playground.tools import wait_for
from table_locks import locked

pytestmark = pytest.mark.cluster

# A table of an extension, of which a dump has the rows for which a condition of the extension
# holds: so a dump calls functions.
_CONDITION = """
CREATE EXTENSION hstore;
{before}
CREATE TABLE chosen (id int);
INSERT INTO chosen VALUES (1);
ALTER EXTENSION hstore ADD TABLE chosen;
UPDATE pg_extension SET extconfig = ARRAY['chosen'::regclass::oid],
    extcondition = ARRAY[$condition${condition}$condition$] WHERE extname = 'hstore';
"""
_SETUPS = {
    "function": _CONDITION.format(
        before="CREATE FUNCTION broken(id int) RETURNS bool LANGUAGE plpgsql AS "
        "'BEGIN RETURN id / 0 > 1; END';",
        condition="WHERE public.broken(id)",
    ),
    "foreign": _CONDITION.format(
        before="CREATE EXTENSION dblink;",
        condition="WHERE EXISTS (SELECT FROM public.dblink("
        "'host=127.0.0.1 port=1 user=x password=y', 'SELECT 1') AS r(i int))",
    ),
    "encoding": _CONDITION.format(before="", condition=r"WHERE convert_from('\xff', 'UTF8') <> ''"),
    "library": """
CREATE EXTENSION hstore;
CREATE TABLE kept (pairs hstore);
INSERT INTO kept VALUES ('a=>1');
UPDATE pg_proc SET probin = '$libdir/missing' WHERE proname = 'hstore_out';
""",
    "dropped": "CREATE TABLE kept (id int); CREATE TABLE gone (id int);",
    "canceled": "CREATE TABLE kept (id int);",
}
_DUMP_WAITS = (
    "FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' "
    "AND query LIKE 'LOCK TABLE%'"
)
# Until the dump waits for the table, which it has found in its snapshot.
_DROP = f"""
DO $$
BEGIN
    DROP TABLE gone;
    FOR tenth IN 1..3000 LOOP
        PERFORM pg_stat_clear_snapshot();
        EXIT WHEN EXISTS (SELECT {_DUMP_WAITS});
        PERFORM pg_sleep(0.1);
    END LOOP;
END $$;
"""
# Sessions on other databases have tables of that number, too.
_DROPPING = """
SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database
 WHERE mode = 'AccessExclusiveLock' AND granted AND d.datname = current_database()
   AND relation = (SELECT oid FROM pg_class WHERE relname = 'gone')
"""


def _database(name: str) -> str:
    return f"causes_{name}"


@pytest.fixture(scope="module")
def server(installation: Installation) -> Postgres:
    for name, setup in _SETUPS.items():
        installation.server.psql(f"CREATE DATABASE {_database(name)}")
        installation.server.psql(setup, _database(name))
    return installation.server


@pytest.fixture(scope="module")
def attempted(
    installation: Installation, server: Postgres, connection: dict[str, str]
) -> dict[str, Attempted]:
    """Exports that fail whenever they are tried, all begun at once."""
    names = ("function", "foreign", "encoding", "library")
    assert server
    return {
        name: begin(
            installation.namespace, f"cause-{name}", {**connection, "database": _database(name)}
        )
        for name in names
    }


def test_a_function_of_the_database_that_fails(attempted: dict[str, Attempted]) -> None:
    assert_failed_at_once(
        attempted["function"], "DumpFailed", "A function of the database", "division by zero"
    )


def test_a_foreign_server_that_is_away(attempted: dict[str, Attempted]) -> None:
    assert_tried_again_and_failed(
        attempted["foreign"], "DumpFailed", "Another server", "exclude_table_data",
        "could not establish connection",
    )  # fmt: skip


def test_text_that_is_none_in_its_encoding(attempted: dict[str, Attempted]) -> None:
    assert_failed_at_once(attempted["encoding"], "DumpFailed", "correct that text", "0xff")


def test_an_extension_whose_library_is_missing(attempted: dict[str, Attempted]) -> None:
    assert_failed_at_once(
        attempted["library"], "DumpFailed", "install that extension's package", "missing"
    )


def _assert_healed(export: Attempted, words: str) -> None:
    status = export.told("DumpFailed")
    assert_explained(export, status, words)
    status = export.ended()
    assert (status["phase"], status["attempts"]) == ("Succeeded", 2), status


def test_a_table_dropped_before_it_was_locked_heals(
    installation: Installation, server: Postgres, connection: dict[str, str]
) -> None:
    database = _database("dropped")
    with ThreadPoolExecutor() as beside:
        dropped = beside.submit(server.psql, _DROP, database)
        wait_for(lambda: server.psql(_DROPPING, database) == "1", "the lock of the drop", 120)
        export = begin(
            installation.namespace, "cause-dropped", {**connection, "database": database}
        )
        _assert_healed(export, r"dropped or changed.*relation .* does not exist")
        dropped.result()


def test_a_statement_that_somebody_canceled_is_tried_again(
    installation: Installation, server: Postgres, connection: dict[str, str]
) -> None:
    database = _database("canceled")
    cancel = f"SELECT count(pg_cancel_backend(pid)) {_DUMP_WAITS}"
    with locked(server, database, "kept"):
        export = begin(
            installation.namespace, "cause-canceled", {**connection, "database": database}
        )
        wait_for(lambda: server.psql(cancel, database) != "0", "a dump to cancel", 300)
    _assert_healed(export, "Somebody canceled")
