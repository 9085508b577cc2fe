"""What the catalogs' rows say that an export leaves out."""

from collections.abc import Sequence
from typing import Any

import pytest
from backupexport_contract.runner_protocol import Remark, Selection
from backupexport_runner.postgres.catalogs import Catalogs
from backupexport_runner.postgres.left_out import warnings

SETTINGS = (
    "The database's settings are not in the file; psql's \\drds shows their values, and ALTER "
    "DATABASE … SET makes them again: "
)
GRANTS = (
    "Grants on the database itself are not in the file; GRANT … ON DATABASE … makes them again: "
)
ROWS: dict[str, list[list[str]]] = {
    "subscriptions": [["s", "off", "1"]],
    "database_settings": [["work_mem", "", "2"], ["work_mem", "app", "2"]],
    "database_grants": [["PUBLIC", "CONNECT, TEMPORARY", "2"], ["app", "CREATE", "2"]],
    "database_comment": [["", "Anna's", "1"]],
    "database_security_labels": [["selinux", "system_u:object_r:sepgsql_db_t:s0", "1"]],
    "extension_tables": [["public.t", "cron", "1"]],
    "foreign_tables": [["public.far", "", "1"]],
    "unlogged_tables": [["public.u", "", "1"]],
    "user_mappings": [["app", "away", "1"]],
    "large_objects": [["", "", "7"]],
    "extensions": [["hstore", "1.8", "1"]],
    "event_triggers": [["noticed", "", "1"]],
    "foreign_servers": [["away", "", "1"]],
    "publications": [["p", "", "1"]],
    "owners": [["app", "", "1"]],
    "locale": [["encoding", "UTF8", "1"]],
}
SENTENCES = {
    "database_settings": f"{SETTINGS}work_mem, work_mem (of role app).",
    "database_grants": f"{GRANTS}PUBLIC (CONNECT, TEMPORARY), app (CREATE).",
    "database_comment": "The database's comment is not in the file: COMMENT ON DATABASE … IS "
    "'Anna''s';",
    "database_security_labels": "Security labels on the database itself are not in the file; "
    "SECURITY LABEL … ON DATABASE makes them again: selinux: system_u:object_r:sepgsql_db_t:s0.",
    "subscriptions": "Subscriptions are not in the file, because only a superuser may dump them: "
    "s.",
    "user_mappings": "The options of user mappings, such as passwords, are not in the file where "
    "the export's role may not see them: app on away.",
    "foreign_tables": "Rows of foreign tables are not in the file, since they are on another "
    "server: public.far.",
    "unlogged_tables": "Rows of unlogged tables are not in the file, because the server is a "
    "standby, which has none: public.u.",
    "extension_tables": "Rows of tables that belong to an extension, and are not registered as its "
    "configuration, are not in the file: public.t of cron.",
}
OF_THE_DATABASE = [
    "database_settings", "database_grants", "database_comment", "database_security_labels",
]  # fmt: skip
HIDDEN = ["subscriptions", "user_mappings"]
OF_ROWS = ["foreign_tables", "unlogged_tables", "extension_tables"]


def told(rows: dict[str, Any], **selection: Any) -> list[str]:
    remarks = warnings(Catalogs(rows), Selection(**selection), reaches_partitions=True)
    assert {remark.code for remark in remarks} <= {"objects_left_out"}
    return [remark.message for remark in remarks]


@pytest.mark.parametrize("kind", SENTENCES)
def test_each_kind(kind: str) -> None:
    assert told({kind: ROWS[kind]}) == [SENTENCES[kind]]


@pytest.mark.parametrize(
    ("selection", "kinds"),
    [
        ({}, [*OF_THE_DATABASE, *HIDDEN, *OF_ROWS]),
        ({"content": "schema"}, [*OF_THE_DATABASE, *HIDDEN]),
        ({"content": "data"}, OF_ROWS),
        (
            {"owner": False, "privileges": False},
            [kind for kind in (*OF_THE_DATABASE, *HIDDEN, *OF_ROWS) if kind != "database_grants"],
        ),
        # What is excluded by name is known to who has excluded it.
        (
            {"exclude_schemas": ("x",), "exclude_tables": ("x",), "exclude_table_data": ("x",)},
            [*OF_THE_DATABASE, *HIDDEN, *OF_ROWS],
        ),
    ],
)
def test_what_was_asked_for(selection: dict[str, Any], kinds: Sequence[str]) -> None:
    assert told(ROWS, **selection) == [SENTENCES[kind] for kind in kinds]


def test_nothing_is_left_out_of_an_ordinary_database() -> None:
    rows = {kind: ROWS[kind] for kind in ("extensions", "publications", "owners", "locale")}
    assert told(rows | {"large_objects": [["", "", "0"]]}) == []


def test_a_superuser_dumps_subscriptions() -> None:
    assert told({"subscriptions": [["s", "on", "1"]]}) == []


@pytest.mark.parametrize(
    ("selection", "beside"),
    [
        (
            {"include_schemas": ("a",)},
            "large objects (7); extensions (hstore); foreign servers (away); publications (p); "
            "subscriptions (s); event triggers (noticed)",
        ),
        ({"include_tables": ("a",), "content": "data"}, "large objects (7)"),
        (
            {"include_tables": ("a",), "content": "schema"},
            "extensions (hstore); foreign servers (away); publications (p); subscriptions (s); "
            "event triggers (noticed)",
        ),
    ],
)
def test_what_is_beside_the_chosen(selection: dict[str, Any], beside: str) -> None:
    messages = told(ROWS, **selection)
    assert messages[0] == (
        "Only the included schemas and tables are in the file: what belongs to no schema, such as "
        f"{beside}, is not, and of what they depend on only what is included, too."
    )
    assert not set(messages) & {SENTENCES[kind] for kind in HIDDEN}


def test_a_choice_without_anything_beside() -> None:
    assert told({}, include_schemas=("a",)) == [
        "Only the included schemas and tables are in the file: what belongs to no schema is not, "
        "and of what they depend on only what is included, too."
    ]


@pytest.mark.parametrize(
    ("rows", "is_told"),
    [
        ({"relations": []}, True),
        ({"relations": [["public.t", "", "1"]]}, False),
        # Nobody could look.
        ({}, False),
    ],
    ids=["empty", "not empty", "not answered"],
)
@pytest.mark.parametrize("content", ["all", "schema", "data"])
def test_a_database_without_tables_may_be_the_wrong_one(
    rows: dict[str, Any], is_told: bool, content: str
) -> None:
    remarks = warnings(Catalogs(rows), Selection(content=content), reaches_partitions=True)
    sentence = (
        "The database has no tables, views or sequences, so the file has none: check that the "
        "ExportTarget names the database that was meant."
    )
    assert remarks == ((Remark("no_tables", sentence),) if is_told else ())


@pytest.mark.parametrize("listed", ["include_tables", "exclude_tables", "exclude_table_data"])
def test_a_pattern_for_a_parent_is_none_for_its_partitions(listed: str) -> None:
    rows = {"parents": [["public.orders", "", "12"]]}
    chosen: dict[str, Any] = {listed: ("orders",)}
    remarks = warnings(Catalogs(rows), Selection(**chosen), reaches_partitions=False)
    assert remarks[-1] == Remark(
        "partitions",
        "A pattern of tables names a parent without its partitions and heirs, which are in the "
        "file, or not, as patterns name them, too (orders* names all that begin so): "
        "public.orders and 11 more.",
    )
    others = warnings(Catalogs(rows), Selection(**chosen), reaches_partitions=True)
    assert "partitions" not in [remark.code for remark in others]
    of_schemas = Selection(exclude_schemas=("s",))
    assert warnings(Catalogs(rows), of_schemas, reaches_partitions=False) == ()


def test_what_could_not_be_read() -> None:
    catalogs = Catalogs({}, "permission denied for view x")
    assert warnings(catalogs, Selection(), reaches_partitions=True) == (
        Remark(
            "not_looked",
            "Some catalogs could not be read, so there may be more that the file leaves out or "
            "that a restore needs: permission denied for view x",
        ),
    )
