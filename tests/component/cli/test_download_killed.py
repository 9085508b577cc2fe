"""A download whose process is killed, stopped, or run as a user does."""

import json
import os
import random
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pyrage
import pytest
from file_server import FILE_NAME, JOB_ID, FileServer, job_of, serving_file

CONTENT = random.Random(23).randbytes(6_000_000)
KILLS = 20
_STARTS = (
    "import sys; from backupexport_cli.files import transfer; "
    "transfer.SEGMENT_BYTES = 500_000; "
    "from backupexport_cli.__main__ import main; sys.exit(main())"
)


@pytest.fixture
def files() -> Iterator[FileServer]:
    with serving_file(CONTENT) as server:
        yield server


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def command(
    files: FileServer, *arguments: str, stdout: int | BinaryIO = subprocess.PIPE
) -> subprocess.Popen[bytes]:
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment |= {
        "BACKUPEXPORT_URL": files.url,
        "BACKUPEXPORT_TOKEN": "secret-token",
        "PYTHONPATH": os.pathsep.join(["cli", "crds"]),
    }
    return subprocess.Popen(
        [sys.executable, "-c", _STARTS, *arguments],
        env=environment,
        stdout=stdout,
        stderr=subprocess.PIPE,
    )


def ended(process: subprocess.Popen[bytes]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out.decode(), err.decode()


@pytest.mark.parametrize("connections", ["1", "3"])
def test_a_download_killed_at_twenty_random_bytes_is_gone_on_with(
    files: FileServer, tmp_path: Path, connections: str
) -> None:
    chosen = random.Random(int(connections))
    for _ in range(KILLS // 2):
        files.go_on.clear()
        # Of each answer; every other one gets what it asks for.
        files.manners.holds = [chosen.randrange(1, 400_000)]
        process = command(files, "download", JOB_ID, str(tmp_path), "--connections", connections)
        assert files.held.acquire(timeout=60)
        process.send_signal(signal.SIGKILL)
        ended(process)
        files.go_on.set()
        assert FILE_NAME not in names_in(tmp_path)
    files.manners.holds = []

    code, out, err = ended(command(files, "download", JOB_ID, str(tmp_path)))

    assert (code, out) == (0, f"{tmp_path / FILE_NAME}\n"), err
    assert (tmp_path / FILE_NAME).read_bytes() == CONTENT
    assert names_in(tmp_path) == [FILE_NAME]


def test_what_a_killed_command_has_noted_is_not_fetched_again(
    files: FileServer, tmp_path: Path
) -> None:
    files.manners.holds = [4_000_000]
    process = command(files, "download", JOB_ID, str(tmp_path))
    assert files.held.acquire(timeout=60)
    note = tmp_path / f"{FILE_NAME}.part.json"
    noted = 0
    # The note comes by itself, soon after the bytes.
    while noted < 3_000_000:
        assert process.poll() is None
        select.select([], [], [], 0.01)
        if note.exists():
            spans = json.loads(note.read_text())["finished"]
            noted = spans[0][1] if spans else 0
    process.send_signal(signal.SIGKILL)
    ended(process)
    files.go_on.set()

    code, _, err = ended(command(files, "download", JOB_ID, str(tmp_path)))

    assert code == 0, err
    assert files.asked_ranges[0] is None
    assert int(str(files.asked_ranges[1]).removeprefix("bytes=").rstrip("-")) >= 3_000_000
    assert "are there already" in err


def test_a_stopped_command_says_how_to_go_on(files: FileServer, tmp_path: Path) -> None:
    files.manners.holds = [2_000_000]
    process = command(files, "download", JOB_ID, str(tmp_path))
    assert files.held.acquire(timeout=60)
    process.send_signal(signal.SIGINT)

    code, out, err = ended(process)

    files.go_on.set()
    assert (code, out) == (130, "")
    assert f"backupexport download {JOB_ID}" in err
    assert "Traceback" not in err
    assert names_in(tmp_path) == [f"{FILE_NAME}.part", f"{FILE_NAME}.part.json"]
    assert ended(command(files, "download", JOB_ID, str(tmp_path)))[0] == 0
    assert (tmp_path / FILE_NAME).read_bytes() == CONTENT


def test_the_file_goes_through_a_pipe(files: FileServer) -> None:
    files.manners.cuts = [1_000_000]
    process = command(files, "download", JOB_ID, "-")

    out, err = process.communicate(timeout=60)

    assert process.returncode == 0, err
    assert out == CONTENT


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device")
@pytest.mark.parametrize("is_encrypted", [False, True])
def test_a_full_disk_behind_standard_output_is_told(
    files: FileServer, tmp_path: Path, is_encrypted: bool
) -> None:
    options = []
    if is_encrypted:
        key = pyrage.x25519.Identity.generate()
        files.content = pyrage.encrypt(CONTENT, [key.to_public()])
        files.job = job_of(files.content, f"{FILE_NAME}.age")
        (tmp_path / "key").write_text(str(key))
        options = ["--identity", str(tmp_path / "key")]
    with Path("/dev/full").open("wb") as full:
        process = command(files, "download", JOB_ID, "-", *options, stdout=full)
        _, err = process.communicate(timeout=60)

    assert process.returncode == 1, err
    assert b"Standard output can't be written: the disk is full." in err
    assert b"report" not in err
    assert b"Exception" not in err


def test_a_wrong_byte_in_a_pipe_is_the_exit_code(files: FileServer) -> None:
    files.content = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
    process = command(files, "download", JOB_ID, "-")

    _, err = process.communicate(timeout=60)

    assert process.returncode == 6
    assert b"another SHA-256" in err


def test_the_answer_is_json_where_that_is_asked_for(files: FileServer, tmp_path: Path) -> None:
    code, out, err = ended(command(files, "--json", "download", JOB_ID, str(tmp_path)))

    assert code == 0, err
    assert json.loads(out) == {
        "job_id": JOB_ID,
        "path": str(tmp_path / FILE_NAME),
        "size_bytes": len(CONTENT),
        "sha256": files.job["artifact"]["sha256"],
        "decrypted": False,
    }


def test_a_directory_that_is_not_there_is_no_name_of_a_file(
    files: FileServer, tmp_path: Path
) -> None:
    code, _, err = ended(command(files, "download", JOB_ID, f"{tmp_path}/new/"))

    assert code == 2
    assert "There is no directory" in err
    assert names_in(tmp_path) == []


def test_a_fetched_file_is_checked_against_its_job(files: FileServer, tmp_path: Path) -> None:
    ended(command(files, "download", JOB_ID, str(tmp_path)))
    path = tmp_path / FILE_NAME

    code, out, err = ended(command(files, "check", str(path)))
    assert code == 0, err
    assert f"job {JOB_ID}" in out

    path.write_bytes(CONTENT[:-1] + b"x")
    code, out, err = ended(command(files, "check", str(path)))
    assert (code, out) == (6, "")
    assert "another SHA-256" in err
