"""The small pure parts: client, progress, storage errors, scrubbing, threads, estimate."""

import errno
import json
from pathlib import Path

import pytest
from backupexport_contract.reasons import ExitCode
from backupexport_runner.export.cgroup import memory_kills, thread_count
from backupexport_runner.export.progress import ProgressMeter
from backupexport_runner.postgres.clients import Client, choose_client, installed_clients
from backupexport_runner.postgres.preflight import Server, estimated_dump_bytes
from backupexport_runner.task.failure import Failure
from backupexport_runner.task.log import Scrubber
from backupexport_runner.volume.failures import storage_failure


@pytest.mark.parametrize(
    ("installed", "server", "chosen"),
    [
        ([15, 16, 17], 16, 16),
        ([17, 15], 16, 17),
        ([18, 17], 9, 17),
        ([9, 15], 15, 15),
    ],
)
def test_the_client_for_a_server(installed: list[int], server: int, chosen: int) -> None:
    clients = [Client(major, Path(str(major))) for major in installed]
    assert choose_client(clients, server, "x").major == chosen


def test_no_client_for_a_server() -> None:
    with pytest.raises(Failure, match=r"PostgreSQL 18\.1, .* is 17") as failure:
        choose_client([Client(17, Path("a")), Client(15, Path("b"))], 18, "18.1")
    assert failure.value.exit_code == ExitCode.SERVER_VERSION_UNSUPPORTED
    with pytest.raises(Failure, match="holds no pg_dump"):
        choose_client([], 18, "18.1")


def test_installed_clients(tmp_path: Path) -> None:
    for name in ("17", "9.6", "common", "15"):
        (tmp_path / name / "bin").mkdir(parents=True)
        (tmp_path / name / "bin" / "pg_dump").touch()
    (tmp_path / "18" / "bin").mkdir(parents=True)
    assert sorted(client.major for client in installed_clients(tmp_path)) == [15, 17]


@pytest.mark.parametrize(("number", "major"), [(170006, 17), (90624, 9), (150018, 15)])
def test_the_major_version(number: int, major: int) -> None:
    assert Server(number, "", 0).major == major


def test_progress() -> None:
    meter = ProgressMeter(1000, now=0)
    assert meter.update(100, 0.9) is None
    told = [meter.update(count, now) for count, now in [(100, 1), (200, 1.5), (500, 2), (2000, 3)]]
    assert [progress and progress.percent for progress in told] == [10, None, 50, 99]
    assert meter.complete(2000).percent == 100


def test_progress_without_an_estimate() -> None:
    progress = ProgressMeter(0, now=0).update(100, 1)
    assert progress is not None
    assert (progress.percent, progress.dumped_bytes, progress.estimated_bytes) == (0, 100, 0)


def test_the_estimate() -> None:
    assert estimated_dump_bytes() == 0
    assert estimated_dump_bytes(1, 0, 0) == 64 * 1024
    assert estimated_dump_bytes(10**9, 10**8, 10**8) == int(0.85e9 + 0.4e9)


@pytest.mark.parametrize(
    ("number", "exit_code"),
    [
        (errno.ENOSPC, ExitCode.STORAGE_FULL),
        (errno.EDQUOT, ExitCode.STORAGE_FULL),
        (errno.EFBIG, ExitCode.STORAGE_FULL),
        (errno.EROFS, ExitCode.STORAGE_UNWRITABLE),
        (errno.EACCES, ExitCode.STORAGE_UNWRITABLE),
        (errno.EPERM, ExitCode.STORAGE_UNWRITABLE),
        (errno.ELOOP, ExitCode.STORAGE_UNWRITABLE),
        (errno.EIO, ExitCode.STORAGE_UNWRITABLE),
        (None, ExitCode.STORAGE_UNWRITABLE),
    ],
)
def test_storage_errors(number: int | None, exit_code: ExitCode) -> None:
    error = OSError(number, "x") if number else OSError("x")
    assert storage_failure(error).exit_code == exit_code


@pytest.mark.parametrize("secret", ["plain", "a@b /'\\\"", "ü\udcff", "p", "[hidden]x"])
def test_secrets_are_hidden_in_every_spelling(secret: str) -> None:
    clean = Scrubber([secret, "", secret + secret]).clean
    for text in (secret, json.dumps(secret)[1:-1], repr(secret)[1:-1], secret + secret):
        assert clean(f"<{text}>") == "<[hidden]>"


@pytest.mark.parametrize(
    ("limit", "threads"),
    [("max 100000", 4), ("50000 100000", 1), ("150000 100000", 2), ("nonsense", 4), (None, 4)],
)
def test_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str | None, threads: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    if limit is not None:
        (tmp_path / "cpu.max").write_text(limit + "\n")
    assert thread_count(tmp_path) == threads


@pytest.mark.parametrize(
    ("name", "counters"),
    [
        ("memory.events", "low 0\noom 2\noom_kill 3\n"),
        ("memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"),
    ],
)
def test_memory_kills(tmp_path: Path, name: str, counters: str) -> None:
    assert memory_kills(tmp_path) == 0
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(counters)
    assert memory_kills(tmp_path) == 3
