"""What deliveries noted beside an artifact: it stays with it, and goes after it."""

import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from backupexport_runner.storage.interface import delivery_journal_name
from backupexport_runner.task.log import Log, Scrubber
from backupexport_runner.task.request import Request, read_request
from backupexport_runner.volume.cleanup import remove, tidy
from backupexport_runner.volume.delivery_notes import NotesFile
from backupexport_runner.volume.directories import made_directory
from runner_bench import Bench, environment

OTHER = "20260129T153000Z-aaaaaaaa-2222-4333-8444-555566667777.sql.zst"


@pytest.fixture
def request_of() -> Request:
    return read_request(environment())


@pytest.fixture
def journals(bench: Bench, request_of: Request) -> list[Path]:
    """Of two kinds, and one that a death left unfinished."""
    bench.says("echo x")
    bench.run(environment())
    names = [
        delivery_journal_name(request_of.file_name, "telegram"),
        delivery_journal_name(request_of.file_name, "other"),
    ]
    paths = [bench.exports / name for name in (*names, f"{names[0]}.new")]
    for path in paths:
        path.write_text("{}")
    return paths


@pytest.fixture
def log() -> Log:
    return Log(Scrubber(), io.StringIO())


def test_tidy_leaves_them_with_the_artifact(
    bench: Bench, request_of: Request, journals: list[Path], log: Log
) -> None:
    assert tidy(bench.exports, request_of, log) is not None
    assert all(path.exists() for path in journals)


def test_tidy_removes_them_where_nothing_else_is_left(
    bench: Bench, request_of: Request, journals: list[Path], log: Log
) -> None:
    (bench.exports / f"{request_of.file_name}.json").unlink()
    assert tidy(bench.exports, request_of, log) is None
    assert list(bench.exports.iterdir()) == []


def test_remove_removes_them_and_nothing_else(
    bench: Bench, request_of: Request, journals: list[Path], log: Log
) -> None:
    stays = [
        bench.exports / delivery_journal_name(OTHER, "telegram"),
        bench.exports / f".{request_of.file_name}.delivered",
        bench.exports / f"{request_of.file_name}.deliver-telegram",
    ]
    for path in stays:
        path.write_text("{}")
    remove(bench.exports, request_of, log)
    assert sorted(bench.exports.iterdir()) == sorted(stays)
    remove(bench.exports, request_of, log)
    assert sorted(bench.exports.iterdir()) == sorted(stays)


def test_a_link_of_such_a_name_goes_and_what_it_leads_to_stays(
    bench: Bench, request_of: Request, journals: list[Path], log: Log
) -> None:
    victim = bench.root / "victim"
    victim.write_text("untouched")
    journals[0].unlink()
    journals[0].symlink_to(victim)
    remove(bench.exports, request_of, log)
    assert victim.read_text() == "untouched"
    assert list(bench.exports.iterdir()) == []


@pytest.mark.parametrize("in_the_way", [Path.mkdir, os.mkfifo])
def test_reading_what_is_no_file_leaves_no_descriptor_open(
    tmp_path: Path, in_the_way: Callable[[Path], object]
) -> None:
    in_the_way(tmp_path / "notes")
    with made_directory(tmp_path, None) as directory:
        before = list(Path("/proc/self/fd").iterdir())
        assert NotesFile(directory, "notes").read() is None
        assert list(Path("/proc/self/fd").iterdir()) == before
