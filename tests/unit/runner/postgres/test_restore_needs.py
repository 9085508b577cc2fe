"""What the catalogs' rows say that a restore needs."""

from typing import Any

import pytest
from backupexport_contract.runner_protocol import Selection
from backupexport_runner.postgres.catalogs import Catalogs
from backupexport_runner.postgres.restore_needs import restore_hints

ROLES = "must exist on the target's server, for the file doesn't make them:"
ROWS: dict[str, list[list[str]]] = {
    "extensions": [["postgis", "3.4.2", "3"], ["timescaledb", "2.17.1", "3"], ["lo", "1.1", "3"]],
    "owners": [["app", "", "1"]],
    "grantees": [["reader", "", "1"]],
    "roles_in_policies": [["tenant", "", "1"]],
    "tablespaces": [["fast", "", "1"]],
    "event_triggers": [["noticed", "", "1"]],
    "materialized_views": [["public.totals", "public.careless", "1"]],
    "row_functions": [["public.t", "public.valid", "1"]],
    "locale": [["encoding", "UTF8", "3"], ["datcollate", "C", "3"], ["datctype", "C", "3"]],
}


def told(rows: dict[str, Any], **selection: Any) -> dict[str, str]:
    hints = restore_hints(Catalogs(rows), Selection(**selection))
    assert len({hint.code for hint in hints}) == len(hints)
    return {hint.code: hint.message for hint in hints}


OF_ROWS = {"materialized_view_search_path", "function_search_path"}


def test_everything() -> None:
    assert told(ROWS) == {
        "timescaledb": "Hypertables go back only between two calls, each in a session of its own: "
        "before the printed command, in DATABASE, CREATE EXTENSION timescaledb VERSION '2.17.1'; "
        "SELECT timescaledb_pre_restore(); and after it SELECT timescaledb_post_restore();",
        "postgis": "The target's server needs PostGIS of the same minor version (3.4.2); where who "
        "restores is no superuser, a superuser runs CREATE EXTENSION postgis; in DATABASE first.",
        "extensions": "These extensions must be installed on the target's server; the file makes "
        "them, in the version that is the server's default: postgis 3.4.2, timescaledb 2.17.1, lo "
        "1.1.",
        "missing_roles": f"Roles that own objects, hold grants or are named in policies {ROLES} "
        "app, reader, tenant.",
        "tablespaces": "Tablespaces must exist on the target's server, unless the file is an "
        "archive and pg_restore gets --no-tablespaces: fast.",
        "event_triggers": "Only a superuser can restore event triggers: be one in a scratch "
        "instance that holds nothing else. They then fire while the restore fills materialized "
        "views, and the printed command takes all back where one fails: noticed.",
        "materialized_view_search_path": "A restore fills materialized views with an empty "
        "search_path, and stops where a function in one names anything without its schema; ALTER "
        "FUNCTION … SET search_path before the export helps: public.totals by public.careless.",
        "function_search_path": "A restore checks rows, computes columns and builds indexes with "
        "an empty search_path, and stops where a function in one names anything without its "
        "schema, which ALTER FUNCTION … SET search_path before the export helps, or reads a table "
        "whose rows come later, which a constraint that is NOT VALID avoids: public.t by "
        "public.valid.",
        "locale": "The database was made as CREATE DATABASE … TEMPLATE template0 ENCODING 'UTF8' "
        "LOCALE 'C'; text goes into no other encoding safely, and sorts otherwise in another "
        "locale.",
    }


@pytest.mark.parametrize(
    ("selection", "codes"),
    [
        ({"content": "data"}, OF_ROWS | {"data_only"}),
        ({"content": "schema", "exclude_table_data": ("a",)}, told(ROWS).keys() - OF_ROWS),
        ({"exclude_table_data": ("a",)}, told(ROWS).keys() | {"excluded"}),
        ({"exclude_tables": ("a",)}, told(ROWS).keys() | {"excluded"}),
        ({"exclude_schemas": ("a",)}, told(ROWS).keys() | {"excluded"}),
        ({"content": "schema"}, told(ROWS).keys() - OF_ROWS),
        ({"include_schemas": ("a",)}, told(ROWS).keys() - {"event_triggers"} | {"included"}),
    ],
)
def test_what_was_asked_for(selection: dict[str, Any], codes: set[str]) -> None:
    assert told(ROWS, **selection).keys() == codes


def test_nothing_is_needed() -> None:
    assert told({}) == {}


@pytest.mark.parametrize(
    ("selection", "words"),
    [
        ({"owner": False}, "hold grants or are named in policies"),
        ({"privileges": False}, "own objects or are named in policies"),
        ({"owner": False, "privileges": False}, "are named in policies"),
    ],
)
def test_roles_of_what_is_in_the_file(selection: dict[str, bool], words: str) -> None:
    names = [
        *(["app"] if selection.get("owner", True) else []),
        *(["reader"] if selection.get("privileges", True) else []),
        "tenant",
    ]
    assert told(ROWS, **selection)["missing_roles"] == f"Roles that {words} {ROLES} " + (
        ", ".join(names) + "."
    )


def test_rows_alone() -> None:
    assert told({}, content="data") == {
        "data_only": "The file has rows alone: DATABASE must have the empty tables already, whose "
        "triggers fire and whose foreign keys are checked as rows come, unless a superuser runs "
        "export PGOPTIONS='-c session_replication_role=replica' before the printed command.",
    }


def test_what_is_excluded_may_be_missed() -> None:
    assert told({}, exclude_tables=("a",)) == {
        "excluded": "A restore stops where a view, a column's type or a foreign key (also by its "
        "rows) uses what is excluded: exclude that, too, or have in DATABASE first what is "
        "missing.",
    }


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        (
            {"include_schemas": ("public",)},
            "The file makes the schemas that are in it: where public is one of them, run DROP "
            "SCHEMA public; in DATABASE first, which a new database has already, and GRANT USAGE "
            "ON SCHEMA public TO PUBLIC; after the restore. DATABASE needs first what views, "
            "columns' types and foreign keys use outside of the file, or a restore stops.",
        ),
        (
            {"include_schemas": ("a",), "include_tables": ("b.*",)},
            "The file doesn't make the schemas of the included tables: make those but public in "
            "DATABASE first, and what views, columns' types and foreign keys use outside of the "
            "file, or a restore stops.",
        ),
        ({"include_tables": ("b.*",), "content": "data"}, None),
        ({}, None),
    ],
)
def test_the_schemas_of_the_chosen(selection: dict[str, Any], message: str | None) -> None:
    assert told({}, **selection).get("included") == message


def test_no_roles() -> None:
    rows = {name: rows for name, rows in ROWS.items() if name != "roles_in_policies"}
    assert "missing_roles" not in told(rows, owner=False, privileges=False)


def test_roles_of_user_mappings() -> None:
    rows = {"roles_of_user_mappings": [["mapped", "", "1"]]}
    assert told(rows, owner=False, privileges=False)["missing_roles"] == (
        f"Roles that have user mappings {ROLES} mapped."
    )
    # The mappings themselves stay out.
    assert "missing_roles" not in told(rows, include_schemas=("a",))


def test_a_role_is_told_once() -> None:
    rows = {"owners": [["app", "", "12"]], "grantees": [["app", "", "1"], ["b", "", "2"]]}
    assert told(rows)["missing_roles"].endswith(": app, b and 10 more.")


def test_the_role_that_exports() -> None:
    rows = {"owners": [["app", "own", "1"]]}
    assert told(rows)["missing_roles"].endswith(": app (the export's own role).")


def test_extensions_that_the_file_does_not_make() -> None:
    assert told(ROWS, include_tables=("a",))["extensions"] == (
        "These extensions must be installed on the target's server; the file doesn't make them, so "
        "CREATE EXTENSION what the included objects use first: postgis 3.4.2, timescaledb 2.17.1, "
        "lo 1.1."
    )


@pytest.mark.parametrize(
    ("count", "needed"), [(1, None), (6400, None), (6401, 65), (61_234, 613), (2_000_000, 20_000)]
)
@pytest.mark.parametrize("content", ["all", "schema", "data"])
def test_locks_that_a_server_with_the_defaults_lacks(
    count: int, needed: int | None, content: str
) -> None:
    message = told({"locks": [["", "", str(count)]]}, content=content).get("locks")
    if needed is None:
        assert message is None
        return
    assert message == (
        f"In one transaction a restore of the whole database locks some {count} objects, such "
        "as tables, their indexes and large objects: the target's server needs "
        f"max_locks_per_transaction of at least {needed} (where its max_connections is 100), "
        "or leave --single-transaction out of the printed command and drop DATABASE where it fails."
    )


@pytest.mark.parametrize(
    ("more", "options"),
    [
        # 13 and 14 have no column for the provider.
        ({}, "LOCALE 'C'"),
        ({"datlocprovider": "c", "datctype": "C.UTF-8"}, "LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'"),
        # 15 and 16.
        (
            {"datlocprovider": "i", "daticulocale": "de-DE"},
            "LOCALE 'C' LOCALE_PROVIDER icu ICU_LOCALE 'de-DE'",
        ),
        # 17 and newer.
        (
            {"datlocprovider": "i", "datlocale": "und"},
            "LOCALE 'C' LOCALE_PROVIDER icu ICU_LOCALE 'und'",
        ),
        (
            {"datlocprovider": "i", "datlocale": "und", "daticurules": "&a < g"},
            "LOCALE 'C' LOCALE_PROVIDER icu ICU_LOCALE 'und' ICU_RULES '&a < g'",
        ),
        (
            {"datlocprovider": "b", "datlocale": "C.UTF-8"},
            "LOCALE 'C' LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'",
        ),
        ({"datcollate": "it's", "datctype": "it's"}, "LOCALE 'it''s'"),
    ],
)
def test_the_locale(more: dict[str, str], options: str) -> None:
    values = {"encoding": "LATIN1", "datcollate": "C", "datctype": "C"} | more
    rows = [[name, value, str(len(values))] for name, value in values.items()]
    message = told({"locale": rows})["locale"]
    assert f"TEMPLATE template0 ENCODING 'LATIN1' {options};" in message
