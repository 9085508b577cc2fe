"""What the file will be: tables."""

import pytest
from backupexport_contract.runner_protocol import Selection
from backupexport_runner.export.dump_file import (
    cleaned_head,
    compression_warnings,
    estimated_bytes,
    restore_with,
)
from mails import request_of

PREAMBLE = (
    b"--\n-- PostgreSQL database dump\n--\n\n\\restrict a\n\nSET statement_timeout = 0;\n"
    b"SET lock_timeout = 0;\nSET transaction_timeout = 0;\nSET client_encoding = 'UTF8';\n"
)
PSQL = "psql 13.22, 14.19, 15.14, 16.10, 17.6, or 18 and newer"


@pytest.mark.parametrize(
    ("dump_format", "dump", "server", "expected"),
    [
        ("sql", "17.6", "17.4", PSQL),
        ("sql", "17.6", "16.4", PSQL),
        ("tar", "17.6", "17.4", "pg_restore 17 or newer"),
        ("custom", "18.1", "17.4", "pg_restore 18 or newer"),
        ("custom", "15.14", "13.4", "pg_restore 15 or newer"),
        ("tar", "17.6", "16.4", f"pg_restore 17 or newer, with {PSQL}"),
    ],
)
def test_what_reads_the_file(dump_format: str, dump: str, server: str, expected: str) -> None:
    assert restore_with(dump_format, dump, server) == expected


@pytest.mark.parametrize(
    ("dump_format", "dump", "server", "is_cleaned"),
    [
        ("sql", "17.6", "16.4", True),
        ("sql", "18.1", "13.23", True),
        ("sql", "17.6", "17.0", False),
        ("sql", "18.1", "17.0", False),
        ("sql", "15.14", "13.1", False),
        ("tar", "17.6", "16.4", False),
        ("custom", "17.6", "16.4", False),
        # A development version, and none that can be read.
        ("sql", "17.6", "16beta1", True),
        ("sql", "17.6", "", False),
    ],
)
def test_the_unknown_setting(dump_format: str, dump: str, server: str, is_cleaned: bool) -> None:
    row = b"SET transaction_timeout = 0;\n"
    cleaned = cleaned_head(PREAMBLE + row, dump_format, dump, server)
    # A row of a table that looks the same stays.
    expected = PREAMBLE.replace(row, b"") if is_cleaned else PREAMBLE
    assert cleaned == expected + row


@pytest.mark.parametrize(
    ("dump_format", "compression", "major", "warns"),
    [
        ("custom", "zstd", 15, True),
        ("custom", "zstd", 16, False),
        ("custom", "gzip", 15, False),
        ("custom", "none", 15, False),
        ("sql", "zstd", 15, False),
    ],
)
def test_another_compression_is_told(
    dump_format: str, compression: str, major: int, warns: bool
) -> None:
    request = request_of(dump_format=dump_format, compression=compression)
    assert [each.code for each in compression_warnings(request, major)] == (
        ["compression_changed"] if warns else []
    )


def test_the_estimate() -> None:
    plain, packed = request_of(), request_of(dump_format="custom")
    bare = request_of(dump_format="custom", compression="none")
    assert estimated_bytes(1000, plain, Selection()) == 1000
    assert estimated_bytes(1000, bare, Selection()) == 1000
    assert 0 < estimated_bytes(1000, packed, Selection()) < 500
    assert estimated_bytes(1000, plain, Selection(content="schema")) == 0
