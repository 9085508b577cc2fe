"""What a job says of its file, and what the file is called here."""

from pathlib import Path
from typing import Any

import pytest
from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.files.wanted import artifact_facts, local_name, placed, wanted_file
from file_server import FILE_NAME, JOB_ID, job_of


def test_a_completed_job_has_a_file() -> None:
    wanted = wanted_file(job_of(b"content", f"{FILE_NAME}.age"))

    assert (wanted.job_id, wanted.size, wanted.is_encrypted) == (JOB_ID, 7, True)
    assert (wanted.name, wanted.decrypted_name) == (f"{FILE_NAME}.age", FILE_NAME)


@pytest.mark.parametrize("status", ["pending", "running", "failed", "cancelled", "else", None])
def test_no_other_job_has_one(status: Any) -> None:
    with pytest.raises(CliError) as raised:
        wanted_file(job_of(b"") | {"status": status})

    assert raised.value.exit_code is ExitCode.FAILED
    assert raised.value.advice


@pytest.mark.parametrize("size", [None, True, -1, 2**63, "7", 7.0])
def test_a_size_that_makes_no_sense_is_refused(size: Any) -> None:
    with pytest.raises(CliError, match="size"):
        artifact_facts({"size_bytes": size, "sha256": "0" * 64})


@pytest.mark.parametrize("sha256", [None, "", "0" * 63, "0" * 64 + "\n", "G" * 64, 5])
def test_a_checksum_that_makes_no_sense_is_refused(sha256: Any) -> None:
    with pytest.raises(CliError, match="SHA-256"):
        artifact_facts({"size_bytes": 7, "sha256": sha256})


@pytest.mark.parametrize(
    "path",
    [
        "../../etc/passwd", "/etc/passwd", "..", "", "a/..", ".bashrc", "a\\b", None, 5,
        "proj/x\x1b[2J.sql", f"proj/{FILE_NAME}\n", f"proj/{FILE_NAME}/", "proj/" + "x" * 5000,
        f"proj/../{FILE_NAME}.exe",
    ],
)  # fmt: skip
def test_a_name_that_is_no_export_s_becomes_one_of_our_own(path: Any) -> None:
    assert local_name(path, JOB_ID) == f"export-{JOB_ID}"


def test_the_name_of_an_export_stays() -> None:
    assert local_name(f"../..//{FILE_NAME}", JOB_ID) == FILE_NAME
    assert local_name("odd.age", JOB_ID) == f"export-{JOB_ID}.age"


def test_a_file_goes_into_a_directory_or_under_the_name_that_is_given(tmp_path: Path) -> None:
    assert placed(None, "name") == Path("name")
    assert placed(tmp_path, "name") == tmp_path / "name"
    assert placed(tmp_path / "mine", "name") == tmp_path / "mine"
    with pytest.raises(CliError, match="no directory") as raised:
        placed(tmp_path / "none" / "mine", "name")
    assert raised.value.exit_code is ExitCode.USAGE
