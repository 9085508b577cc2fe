"""Names that follow from other names."""

from datetime import UTC, datetime

import pytest
from backupexport_contract import names

UUID4 = "0b7cbb51-7c4f-4f52-9b0e-3f6a2b1c9d8e"
CREATED = datetime(2026, 1, 29, 15, 30, 0, 999000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "expected"),
    [(UUID4, UUID4), ("nightly", "the-uid"), (UUID4.upper(), "the-uid"), ("", "the-uid")],
)
def test_job_id_is_the_name_only_where_that_is_a_uuid(name: str, expected: str) -> None:
    assert names.job_id_of(name, "the-uid") == expected


@pytest.mark.parametrize("length", [1, 36, 59, 60, 100, 253])
def test_job_name_fits_a_label_and_tells_exports_apart(length: int) -> None:
    one, other = "a" * length, "a" * (length - 1) + "b"
    assert len(names.job_name(one)) <= 63
    assert names.job_name(one) != names.job_name(other)
    assert names.job_name(one) == names.job_name(one)


def test_job_name_never_breaks_off_at_a_dot_or_dash() -> None:
    assert ".-" not in names.job_name("a" * 47 + "." * 100 + "b").replace("..", "")
    assert names.job_name("a" * 40 + "-" * 100 + "b").startswith("bex-" + "a" * 40 + "-")


@pytest.mark.parametrize(
    ("dump_format", "compression", "end"),
    [("sql", "zstd", ".sql.zst"), ("sql", "none", ".sql"), ("tar", "gzip", ".tar.gz")],
)
def test_artifact_file_name(dump_format: str, compression: str, end: str) -> None:
    file_name = names.artifact_file_name(CREATED, UUID4, dump_format, compression)
    assert file_name == f"20260129T153000Z-{UUID4}{end}"
    assert names.is_artifact_file_name(file_name)


@pytest.mark.parametrize("text", ["", "x.sql", f"20260129T153000Z-{UUID4}.sql\n", "../x"])
def test_other_file_names_are_none_of_ours(text: str) -> None:
    assert not names.is_artifact_file_name(text)


def test_artifact_path_has_the_storage_path_only_where_there_is_one() -> None:
    assert names.artifact_path("p", None, "f") == "p/f"
    assert names.artifact_path("p", "a/b", "f") == "p/a/b/f"
