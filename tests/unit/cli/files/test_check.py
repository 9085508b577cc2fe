"""A local file against its manifest or its job."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.files.check import check
from backupexport_cli.files.dump_end import dump_end
from file_server import FILE_NAME, JOB_ID, job_of

SQL = b"SELECT 1;\n--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict abc\n"


def no_job(job_id: str) -> Any:
    raise AssertionError(f"job {job_id} was asked for")


def put(folder: Path, name: str, content: bytes, **manifest: Any) -> Path:
    path = folder / name
    path.write_bytes(content)
    known = {"size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / f"{name}.json").write_text(json.dumps({"path": f"p/{name}"} | known | manifest))
    return path


def test_a_manifest_beside_it_is_enough(tmp_path: Path) -> None:
    checked = check(put(tmp_path, "dump.sql", SQL), None, no_job)

    assert checked.sha256 == hashlib.sha256(SQL).hexdigest()
    assert checked.dump_end == "whole"
    assert checked.text().splitlines() == [
        f"{tmp_path}/dump.sql: size and SHA-256 are those of the manifest dump.sql.json.",
        "The dump ends as pg_dump ends one.",
    ]


@pytest.mark.parametrize(
    ("manifest", "words"),
    [({"size_bytes": 5}, "bytes, and"), ({"sha256": "0" * 64}, "another SHA-256")],
)
def test_another_file_is_found_out(tmp_path: Path, manifest: dict[str, Any], words: str) -> None:
    with pytest.raises(CliError, match=words) as raised:
        check(put(tmp_path, "dump.sql", SQL, **manifest), None, no_job)

    assert raised.value.exit_code is ExitCode.CORRUPT


def test_the_job_is_asked_where_there_is_no_manifest(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    path.write_bytes(b"content")
    asked = []

    def job(job_id: str) -> Any:
        asked.append(job_id)
        return job_of(b"content")

    checked = check(path, None, job)

    assert asked == [JOB_ID]
    assert checked.against == f"job {JOB_ID}"
    assert checked.dump_end == "compressed"


def test_a_job_that_is_named_goes_before_the_manifest(tmp_path: Path) -> None:
    path = put(tmp_path, "dump.sql.zst", b"content", sha256="0" * 64)

    assert check(path, JOB_ID, lambda _: job_of(b"content")).sha256


def test_a_name_that_tells_nothing_needs_a_job(tmp_path: Path) -> None:
    path = tmp_path / "dump.sql"
    path.write_bytes(SQL)

    with pytest.raises(CliError, match="Nothing says what") as raised:
        check(path, None, no_job)

    assert raised.value.exit_code is ExitCode.USAGE


def test_a_decrypted_file_has_only_its_end_looked_at(tmp_path: Path) -> None:
    put(tmp_path, "dump.sql.age", b"encrypted")
    (tmp_path / "dump.sql").write_bytes(SQL)

    checked = check(tmp_path / "dump.sql", None, no_job)

    assert checked.sha256 is None
    assert "was not compared" in checked.text()
    (tmp_path / "dump.sql").write_bytes(SQL[:30])
    with pytest.raises(CliError, match="does not end"):
        check(tmp_path / "dump.sql", None, no_job)


@pytest.mark.parametrize(
    "manifest",
    [b"", b"[" * 200_000, b"[]", b"\xff", b'{"size_bytes": 1e400}', b" " * 5_000_000, b"{}"],
)
def test_a_manifest_of_nonsense_is_told_as_one(tmp_path: Path, manifest: bytes) -> None:
    path = put(tmp_path, "dump.sql", SQL)
    (tmp_path / "dump.sql.json").write_bytes(manifest)

    with pytest.raises(CliError, match=r"manifest|makes sense"):
        check(path, None, no_job)


def test_a_pipe_in_its_place_holds_nobody_up(tmp_path: Path) -> None:
    path = put(tmp_path, "dump.sql", SQL)
    (tmp_path / "dump.sql.json").unlink()
    os.mkfifo(tmp_path / "dump.sql.json")

    with pytest.raises(CliError, match="no manifest"):
        check(path, None, no_job)
    with pytest.raises(CliError, match="is no file"):
        check(tmp_path, None, no_job)
    with pytest.raises(CliError, match="There is no file") as raised:
        check(tmp_path / "none", None, no_job)
    assert raised.value.exit_code is ExitCode.NOT_FOUND


@pytest.mark.parametrize(
    ("name", "tail", "found"),
    [
        ("a.sql", SQL, "whole"),
        ("a.sql", SQL[:-70], "cut"),
        ("a.tar", b"x" + bytes(1024), "whole"),
        ("a.tar", b"x" + bytes(1023), "cut"),
        ("a.sql.zst", b"", "compressed"),
        ("a.tar.gz", b"", "compressed"),
        ("a.dump", b"", "archive"),
        ("a.sql.age", SQL, "encrypted"),
        ("a", b"", "unknown"),
    ],
)
def test_the_end_of_a_dump_is_looked_at_where_that_is_cheap(
    name: str, tail: bytes, found: str
) -> None:
    assert dump_end(name, tail) == found
