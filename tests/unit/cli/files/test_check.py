"""A local file against its manifest or its job."""

import gzip
import hashlib
import json
import os
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.files.check import check
from backupexport_cli.files.dump_end import dump_end, kind_of, named
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


def test_the_advice_names_the_job_that_is_known(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    path.write_bytes(b"another")
    with pytest.raises(CliError) as raised:
        check(path, None, lambda _job_id: job_of(b"content"))
    assert raised.value.advice.endswith(f"backupexport download {JOB_ID}")


def test_a_file_of_another_job_is_not_taken_for_a_decrypted_one(tmp_path: Path) -> None:
    other = "11111111-2222-4333-8444-555555555555"
    path = tmp_path / f"20260129T153000Z-{other}.sql"
    path.write_bytes(SQL)
    with pytest.raises(CliError, match=f"is of job {other}, as its name says") as raised:
        check(path, JOB_ID, lambda _job_id: job_of(b"encrypted", f"{FILE_NAME}.age"))
    assert raised.value.exit_code is ExitCode.USAGE


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


ENCRYPTED_NAME = f"{FILE_NAME}.age"
ENCRYPTED = b"age-encryption.org/v1\n-> X25519 abc\n" + bytes(3000)
ARMORED = b"-----BEGIN AGE ENCRYPTED FILE-----\n" + b"YWdl" * 700
ZSTD = b"\x28\xb5\x2f\xfd"


def encrypted_job(name: str = ENCRYPTED_NAME, content: bytes = ENCRYPTED) -> Any:
    return lambda _: job_of(content, name)


@pytest.mark.parametrize("content", [ENCRYPTED, ARMORED], ids=["binary", "armored"])
@pytest.mark.parametrize("name", ["mine", "mine.sql", "mine.sql.zst", "mine.age"])
def test_an_encrypted_file_is_compared_whatever_it_is_called(
    tmp_path: Path, name: str, content: bytes
) -> None:
    path = tmp_path / name
    path.write_bytes(content)

    checked = check(path, JOB_ID, encrypted_job(content=content))

    assert checked.sha256 == hashlib.sha256(content).hexdigest()
    assert checked.dump_end == "encrypted"
    for damaged in (content[:1000], content[:-1] + b"x", content + b"x"):
        path.write_bytes(damaged)
        with pytest.raises(CliError, match=r"bytes, and job|another SHA-256") as raised:
            check(path, JOB_ID, encrypted_job(content=content))
        assert raised.value.exit_code is ExitCode.CORRUPT


def test_an_encrypted_file_beside_its_manifest_is_compared_without_its_ending_too(
    tmp_path: Path,
) -> None:
    put(tmp_path, "mine.age", ENCRYPTED)
    (tmp_path / "mine").write_bytes(ENCRYPTED[:1000])

    with pytest.raises(CliError, match="bytes, and the manifest") as raised:
        check(tmp_path / "mine", None, no_job)

    assert raised.value.exit_code is ExitCode.CORRUPT


def test_a_name_that_tells_of_another_kind_does_not_make_a_good_file_bad(tmp_path: Path) -> None:
    path = tmp_path / "mine.sql"
    path.write_bytes(ZSTD + b"content")

    checked = check(path, JOB_ID, lambda _: job_of(ZSTD + b"content"))

    assert checked.dump_end == "compressed"


def a_zstd(folder: Path, monkeypatch: pytest.MonkeyPatch, lines: str) -> Path:
    """Put a zstd of so many lines of shell alone on the PATH; where it keeps what it was given."""
    programs = folder / "programs"
    programs.mkdir()
    program = programs / "zstd"
    program.write_text(f"#!/bin/sh\n/usr/bin/env > {folder}/environment\n{lines}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setenv("BACKUPEXPORT_TOKEN", "not-for-others")
    return folder / "environment"


# As the decrypted file is called, and as its job's is.
GZ_NAMES = [("mine.sql.gz", ".sql.zst.age"), ("mine", ".sql.gz.age"), ("mine.sql", ".sql.gz.age")]


@pytest.mark.parametrize(("name", "ending"), GZ_NAMES)
def test_a_decrypted_file_of_gzip_is_read_to_its_end(
    tmp_path: Path, name: str, ending: str
) -> None:
    path = tmp_path / name
    job = encrypted_job(FILE_NAME.replace(".sql.zst", ending))
    good = gzip.compress(random.Random(1).randbytes(300_000) + SQL)
    path.write_bytes(good)

    checked = check(path, JOB_ID, job)

    assert (checked.sha256, checked.dump_end) == (None, "whole")
    damaged = bytearray(good)
    damaged[100_000] ^= 1
    for content in (good[:-1], good[:100_000], good + b"x", bytes(damaged), b"\x1f\x8b"):
        path.write_bytes(content)
        with pytest.raises(CliError, match="can't be decompressed to its end") as raised:
            check(path, JOB_ID, job)
        assert raised.value.exit_code is ExitCode.CORRUPT
    path.write_bytes(gzip.compress(SQL[:30]))
    with pytest.raises(CliError, match="does not end as pg_dump"):
        check(path, JOB_ID, job)


@pytest.mark.parametrize(
    "name", ["mine.tar.gz", "mine.gz", "mine.zst", "mine.sql.zst", "mine.dump"]
)
def test_an_empty_file_is_no_whole_one(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"")

    with pytest.raises(CliError):
        check(path, JOB_ID, encrypted_job())


@pytest.mark.skipif(shutil.which("zstd") is None, reason="there is no zstd")
@pytest.mark.parametrize("name", ["mine.sql.zst", "mine", "mine.sql"])
def test_a_decrypted_file_of_zstd_is_read_to_its_end(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    content = random.Random(1).randbytes(300_000) + SQL
    good = subprocess.run(["zstd", "-q"], input=content, capture_output=True, check=True).stdout
    path.write_bytes(good)

    assert check(path, JOB_ID, encrypted_job()).dump_end == "whole"

    damaged = bytearray(good)
    damaged[100_000] ^= 1
    for cut in (good[:-1], good[:100_000], good + b"x", bytes(damaged), ZSTD):
        path.write_bytes(cut)
        with pytest.raises(CliError, match="can't be decompressed to its end") as raised:
            check(path, JOB_ID, encrypted_job())
        assert raised.value.exit_code is ExitCode.CORRUPT


def test_zstd_gets_no_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = a_zstd(tmp_path, monkeypatch, "/bin/cat")
    path = tmp_path / "mine.sql.zst"
    path.write_bytes(SQL)

    assert check(path, JOB_ID, encrypted_job()).dump_end == "whole"
    assert "PATH=" in environment.read_text()
    assert "not-for-others" not in environment.read_text()


@pytest.mark.parametrize("lines", [None, "/bin/cat; kill -9 $$"], ids=["none", "killed"])
def test_without_zstd_nothing_says_that_the_file_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: str | None
) -> None:
    if lines is None:
        monkeypatch.setenv("PATH", str(tmp_path))
    else:
        a_zstd(tmp_path, monkeypatch, lines)
    path = tmp_path / "mine.sql.zst"
    path.write_bytes(ZSTD + SQL)

    with pytest.raises(CliError, match=r"is not known: .* no zstd") as raised:
        check(path, JOB_ID, encrypted_job())

    assert raised.value.exit_code is ExitCode.FAILED
    assert "Install zstd" in raised.value.advice


@pytest.mark.parametrize(
    ("name", "ending", "content", "advice"),
    [
        ("mine.dump", ".dump.age", b"PGDMP", "pg_restore -f /dev/null"),
        ("mine", ".dump.age", b"PGDMP", "pg_restore -f /dev/null"),
        ("mine", ".dump.age", b"", "pg_restore -f /dev/null"),
        ("mine", ".age", b"x", "Give it the ending"),
    ],
)
def test_where_neither_checksum_nor_end_tells_it_is_no_success(
    tmp_path: Path, name: str, ending: str, content: bytes, advice: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)

    with pytest.raises(CliError, match="is not known") as raised:
        check(path, JOB_ID, encrypted_job(FILE_NAME.replace(".sql.zst", ending)))

    assert raised.value.exit_code is ExitCode.FAILED
    assert advice in raised.value.advice


def test_a_decrypted_tar_may_be_called_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "mine.sql"
    path.write_bytes(b"x" + bytes(1024))
    job = encrypted_job(FILE_NAME.replace(".sql.zst", ".tar.age"))

    assert check(path, JOB_ID, job).dump_end == "whole"

    path.write_bytes(b"x" + bytes(1023))
    with pytest.raises(CliError, match="does not end as pg_dump"):
        check(path, JOB_ID, job)


def test_what_was_decompressed_may_be_larger_than_the_encrypted_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.sql"
    path.write_bytes(bytes(10_000) + SQL)

    assert check(path, JOB_ID, encrypted_job()).dump_end == "whole"


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
    kind = kind_of(b"", named(name), named(name), is_exported=True)

    assert dump_end(kind, tail) == found
