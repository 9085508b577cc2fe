"""pg_dump's command line: a table."""

import os
from pathlib import Path

import pytest
from backupexport_contract.runner_protocol import Selection
from backupexport_runner.postgres.clients import Client
from backupexport_runner.postgres.pg_dump import dump_command, inner_compression

COMMON = [
    "--no-password",
    "--lock-wait-timeout=120000",
    "--dbname=keepalives=1 keepalives_idle=30 keepalives_interval=10 keepalives_count=3 "
    "tcp_user_timeout=60000",
]

EVERYTHING = Selection()
# pg_authid has the passwords of all roles of the server, and whoever reads all data reads it.
NOT_OF_POSTGRESQL = {"--exclude-schema=pg_*", "--exclude-schema=information_schema"}
NO_TABLES_OF_POSTGRESQL = {"--exclude-table=pg_*.*", "--exclude-table=information_schema.*"}


def arguments(
    dump_format: str = "sql",
    compression: str = "zstd",
    major: int = 17,
    selection: Selection = EVERYTHING,
) -> set[str]:
    program, *rest = dump_command(
        Client(major, Path("/pg_dump")), dump_format, compression, selection
    )
    assert program == "/pg_dump"
    assert set(COMMON) <= set(rest)
    assert all(argument.startswith("--") for argument in rest)
    return set(rest) - set(COMMON) - {"--strict-names"}


@pytest.mark.parametrize(("dump_format", "option"), [("sql", "plain"), ("tar", "tar")])
@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_everything(dump_format: str, option: str, compression: str) -> None:
    assert arguments(dump_format, compression) == {f"--format={option}"}


@pytest.mark.parametrize(
    ("compression", "major", "option", "inside"),
    [
        ("zstd", 16, "--compress=zstd:1", "zstd"),
        ("gzip", 17, "--compress=gzip:1", "gzip"),
        ("none", 18, "--compress=none", "none"),
        # Before 16 there is gzip alone.
        ("zstd", 15, "--compress=1", "gzip"),
        ("gzip", 13, "--compress=1", "gzip"),
        ("none", 15, "--compress=0", "none"),
    ],
)
def test_a_custom_archive_is_compressed_inside(
    compression: str, major: int, option: str, inside: str
) -> None:
    assert arguments("custom", compression, major) == {"--format=custom", option}
    assert inner_compression(compression, major) == inside


@pytest.mark.parametrize(
    ("selection", "options"),
    [
        (Selection(content="schema"), {"--schema-only"}),
        (Selection(content="data"), {"--data-only"}),
        (Selection(owner=False), {"--no-owner"}),
        (Selection(privileges=False), {"--no-privileges"}),
        (
            Selection(include_schemas=("a", "b.*"), exclude_schemas=("-c",)),
            {"--schema=a", "--schema=b.*", "--exclude-schema=-c", *NOT_OF_POSTGRESQL},
        ),
        (
            Selection(include_tables=("--file=/x",), exclude_tables=("$(id)", "'; --")),
            {
                "--table-and-children=--file=/x",
                "--exclude-table-and-children=$(id)",
                "--exclude-table-and-children='; --",
                *NOT_OF_POSTGRESQL,
                *NO_TABLES_OF_POSTGRESQL,
            },
        ),
        (Selection(exclude_table_data=("a=b",)), {"--exclude-table-data-and-children=a=b"}),
        # Else pg_dump would take the table out of the excluded schema.
        (
            Selection(include_tables=("s.t", "u"), exclude_schemas=("s", '"a b"')),
            {
                "--table-and-children=s.t",
                "--table-and-children=u",
                "--exclude-schema=s",
                '--exclude-schema="a b"',
                "--exclude-table=s.*",
                '--exclude-table="a b".*',
                *NOT_OF_POSTGRESQL,
                *NO_TABLES_OF_POSTGRESQL,
            },
        ),
    ],
)
def test_a_choice(selection: Selection, options: set[str]) -> None:
    assert arguments(selection=selection) == {"--format=plain", *options}


def test_a_pattern_for_a_table_is_one_for_its_partitions_where_pg_dump_can_do_that() -> None:
    chosen = Selection(exclude_tables=("a",), exclude_table_data=("b",))
    assert arguments(major=15, selection=chosen) == {
        "--format=plain", "--exclude-table=a", "--exclude-table-data=b",
    }  # fmt: skip
    assert arguments(major=16, selection=chosen) == {
        "--format=plain", "--exclude-table-and-children=a", "--exclude-table-data-and-children=b",
    }  # fmt: skip


@pytest.mark.parametrize("selection", [EVERYTHING, Selection(exclude_tables=("a",))])
def test_without_an_include_pg_dump_itself_leaves_its_own_schemas_out(selection: Selection) -> None:
    assert not NOT_OF_POSTGRESQL & arguments(selection=selection)


@pytest.mark.parametrize(
    ("encoding", "pattern", "sent"),
    [
        ("UTF8", "ä日", "ä日".encode()),
        ("LATIN1", "ä", b"\xe4"),
        ("LATIN9", "€", b"\xa4"),
        ("WIN1251", "я", b"\xff"),
        ("KOI8R", "я", b"\xd1"),
        ("EUC_JP", "日", b"\xc6\xfc"),
        ("EUC_CN", "日", b"\xc8\xd5"),
        # Bytes as they come.
        ("SQL_ASCII", "ä", "ä".encode()),
        # It can't be the name of anything there.
        ("LATIN1", "日", "日".encode()),
        ("MULE_INTERNAL", "ä", "ä".encode()),
    ],
)
def test_patterns_are_in_the_encoding_of_the_session(
    encoding: str, pattern: str, sent: bytes
) -> None:
    selection = Selection(exclude_tables=(pattern,))
    command = dump_command(Client(17, Path("/d")), "sql", "none", selection, encoding)
    assert b"--exclude-table-and-children=" + sent in [
        os.fsencode(argument) for argument in command
    ]


def test_a_pattern_that_matches_nothing_fails() -> None:
    assert "--strict-names" in dump_command(Client(17, Path("/pg_dump")), "sql", "none", EVERYTHING)
