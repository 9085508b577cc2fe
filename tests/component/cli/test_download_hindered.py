"""A download into a place that takes no file, and from a server that is slow."""

import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import file_server
import pytest
from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.files import body
from backupexport_cli.files.download import download
from backupexport_cli.output.console import Output
from backupexport_cli.service.http import ApiHttp, GivenToken
from backupexport_cli.service.rest import RestExports
from file_server import FILE_NAME, JOB_ID, FileServer, serving_file

CONTENT = random.Random(29).randbytes(50_000)
_NOBODY = 65534
_READ_ONLY = 'mount -t tmpfs -o ro none "$1" && shift && exec "$@"'


@pytest.fixture
def files() -> Iterator[FileServer]:
    with serving_file(CONTENT) as server:
        yield server


@pytest.fixture
def rest(files: FileServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[RestExports]:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    http = ApiHttp(files.url, GivenToken("any"))
    yield RestExports(http)
    http.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that anybody may look into, which pytest's own are not."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o755)
    yield path
    path.chmod(0o755)
    shutil.rmtree(path)


def fetched(rest: RestExports, to: Path) -> Path:
    output = Output(quiet=True)
    return download(rest, rest.job(JOB_ID), to, connections=None, identities=[], output=output)


@contextmanager
def without_root() -> Iterator[None]:
    """Be somebody whom permissions bind."""
    was = os.geteuid()
    if was == 0:
        os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(was)


def test_a_directory_in_which_one_may_not_write_is_told(
    files: FileServer, rest: RestExports, folder: Path
) -> None:
    folder.chmod(0o555)

    with without_root(), pytest.raises(CliError) as raised:
        fetched(rest, folder)

    assert raised.value.exit_code is ExitCode.FAILED
    assert raised.value.message == f"{folder / FILE_NAME}.part can't be written: you may not."
    assert raised.value.advice == "Choose a directory in which you may write."
    assert files.asked_ranges == []
    assert list(folder.iterdir()) == []


def test_a_directory_into_which_one_may_not_look_is_told(
    files: FileServer, rest: RestExports, folder: Path
) -> None:
    inner = folder / "closed" / "inner"
    inner.mkdir(parents=True)
    inner.parent.chmod(0)
    try:
        with without_root(), pytest.raises(CliError) as raised:
            fetched(rest, inner)
    finally:
        inner.parent.chmod(0o755)

    assert raised.value.exit_code is ExitCode.FAILED
    assert raised.value.message == f"{inner} can't be written: you may not."
    assert files.asked_ranges == []


def test_a_file_where_a_directory_should_be_is_told(
    files: FileServer, rest: RestExports, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"mine")

    with pytest.raises(CliError, match="There is no directory") as raised:
        fetched(rest, tmp_path / "file" / "name")

    assert raised.value.exit_code is ExitCode.USAGE
    assert files.asked_ranges == []
    assert (tmp_path / "file").read_bytes() == b"mine"


def in_read_only(folder: Path, *command: str) -> list[str]:
    """Run a command that finds a read-only file system at `folder`."""
    own = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
    return [*own, "sh", "-c", _READ_ONLY, "sh", str(folder), *command]


def test_a_read_only_file_system_is_told(files: FileServer, tmp_path: Path) -> None:
    if subprocess.run(in_read_only(tmp_path, "true"), capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    program = [sys.executable, "-m", "backupexport_cli", "download", JOB_ID, str(tmp_path)]
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment |= {
        "BACKUPEXPORT_URL": files.url,
        "BACKUPEXPORT_TOKEN": "any",
        "PYTHONPATH": os.pathsep.join(["cli", "crds"]),
    }

    ended = subprocess.run(
        in_read_only(tmp_path, *program),
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (ended.returncode, ended.stdout) == (1, "")
    # However wide the lines are.
    words = " ".join(ended.stderr.split())
    assert "can't be written: the file system is read-only. Choose another directory." in words
    assert files.asked_ranges == []


def test_a_server_that_sends_byte_by_byte_is_one_request(
    files: FileServer, rest: RestExports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_server, "_PIECE", 1)

    assert fetched(rest, tmp_path).read_bytes() == CONTENT
    assert files.asked_ranges == [None]


def test_a_server_that_has_gone_silent_is_asked_for_the_rest(
    files: FileServer, rest: RestExports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body, "_STALL_SECONDS", 2)
    files.manners.holds = [40_000]

    assert fetched(rest, tmp_path).read_bytes() == CONTENT
    assert files.asked_ranges == [None, "bytes=40000-"]
    files.go_on.set()
