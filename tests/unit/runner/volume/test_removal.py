"""The task `remove` with a list of files: what goes, what is missing, what was removed before."""

import errno
import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from backupexport_contract.reasons import ExitCode
from backupexport_contract.runner_protocol import (
    ENV_FILES,
    ENV_TASK,
    TASK_REMOVE,
    TERMINATION_MESSAGE_BYTES,
    Outcome,
    in_pieces,
    outcome_text,
    read_outcome,
)
from backupexport_runner.storage.failures import NotAllRemovedError
from backupexport_runner.task.failure import Failure
from backupexport_runner.task.log import Log, Scrubber
from backupexport_runner.task.request import StoredFile, read_files
from backupexport_runner.volume import removal
from backupexport_runner.volume.artifact import partial_name
from backupexport_runner.volume.removal import remove_all
from runner_bench import Bench
from runner_process import start


def file_name(number: int) -> str:
    return f"20260129T153000Z-0b7c1111-2222-4333-8444-{number:012}.sql.zst"


def path_of(number: int, project: str = "p", directory: str = "") -> str:
    return "/".join(part for part in (project, directory, file_name(number)) if part)


FIRST, SECOND, THIRD = path_of(1), path_of(2, "--help"), path_of(3, "p", "a/b")


def values(*paths: str) -> dict[str, str]:
    return {ENV_TASK: TASK_REMOVE, **in_pieces(ENV_FILES, json.dumps(paths))}


def tombstone(path: str) -> str:
    directory, _, name = path.rpartition("/")
    return f"{directory}/.{name}.removed"


def store(bench: Bench, *paths: str) -> None:
    for path in paths:
        file = bench.exports / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("a dump")
        file.with_name(f"{file.name}.json").write_text("{}")


def remove(bench: Bench, *paths: str) -> Outcome:
    return remove_all(bench.exports, read_files(values(*paths)), Log(Scrubber(), bench.output))


def run(bench: Bench, *paths: str, **more: str) -> tuple[int, Outcome]:
    process = start(bench, values(*paths) | more)
    _, errors = process.communicate(timeout=60)
    assert errors == ""
    message = bench.configuration.termination_message
    return process.returncode, read_outcome(message.read_text() if message.exists() else "")


def test_files_of_several_projects_go_and_no_others(bench: Bench) -> None:
    store(bench, FIRST, SECOND, THIRD, path_of(4), path_of(1, "q"))
    for name in (file_name(1), f"{file_name(1)}.json"):
        (bench.exports / f"p/.{name}.partial").write_text("half")
        (bench.exports / "p" / partial_name(name, "pod-a")).write_text("half")
    (bench.exports / f"p/.{file_name(1)}.deliver-telegram").write_text("{}")
    (bench.exports / f"p/.{file_name(4)}.deliver-telegram").write_text("{}")
    assert run(bench, FIRST, SECOND, THIRD) == (0, Outcome())
    kept = [path_of(4), f"{path_of(4)}.json", path_of(1, "q"), f"{path_of(1, 'q')}.json"]
    notes = f"p/.{file_name(4)}.deliver-telegram"
    assert bench.files == sorted([*kept, notes, *map(tombstone, (FIRST, SECOND, THIRD))])
    assert [(bench.exports / tombstone(path)).read_text() for path in (FIRST, THIRD)] == ["", ""]


def test_a_second_name_of_a_manifest_keeps_its_content(bench: Bench) -> None:
    store(bench, FIRST)
    other = bench.exports / "of-somebody-else"
    os.link(bench.exports / f"{FIRST}.json", other)
    assert remove(bench, FIRST) == Outcome()
    assert other.read_text() == "{}"


def test_what_is_not_there_is_told_by_its_place(bench: Bench) -> None:
    store(bench, FIRST, SECOND)
    (bench.exports / SECOND).unlink()
    assert run(bench, FIRST, SECOND, THIRD) == (0, Outcome(missing=(1, 2)))
    # Looked for once more, it is missing still.
    assert run(bench, FIRST, SECOND, THIRD) == (0, Outcome(missing=(1, 2)))


@pytest.mark.parametrize("with_manifest", [True, False])
def test_what_an_earlier_run_removed_is_not_missing(bench: Bench, with_manifest: bool) -> None:
    store(bench, FIRST)
    if not with_manifest:
        (bench.exports / f"{FIRST}.json").unlink()
    assert [remove(bench, FIRST), remove(bench, FIRST)] == [Outcome(), Outcome()]


def test_killed_at_any_step_the_next_run_misses_nothing(bench: Bench, tmp_path: Path) -> None:
    paths = [path_of(number, directory="a") for number in range(3)]
    store(bench, *paths)
    begin = tmp_path / "begin"
    shutil.copytree(bench.exports, begin)
    for step in range(1, 100):
        shutil.rmtree(bench.exports)
        shutil.copytree(begin, bench.exports)
        exit_code, _ = run(bench, *paths, TEST_KILL_AT=str(step))
        for path in paths:
            assert path in bench.files or f"{path}.json" not in bench.files
        if exit_code == 0:
            break
        assert exit_code == -signal.SIGKILL
        assert remove(bench, *paths) == Outcome()
        assert bench.files == sorted(map(tombstone, paths))
    assert step > 10


def test_a_tombstone_goes_with_a_later_removal(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(bench, FIRST)
    remove(bench, FIRST)
    store(bench, path_of(2))
    remove(bench, path_of(2))
    assert bench.files == sorted(map(tombstone, (FIRST, path_of(2))))
    later = time.time() + removal._TOMBSTONE_SECONDS + 60
    monkeypatch.setattr(time, "time", lambda: later)
    (bench.exports / "p/.keep.removed").touch()
    remove(bench, path_of(3))
    assert bench.files == ["p/.keep.removed"]


def refusing(call: Callable[..., Any], wanted: str, number: int) -> Callable[..., Any]:
    def refuse(target: str, *arguments: Any, **options: Any) -> Any:
        if target == wanted:
            raise OSError(number, os.strerror(number))
        return call(target, *arguments, **options)

    return refuse


def test_one_file_that_stays_holds_up_no_other(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [path_of(number) for number in range(3)]
    store(bench, *paths)
    monkeypatch.setattr(os, "unlink", refusing(os.unlink, file_name(1), errno.EPERM))
    with pytest.raises(NotAllRemovedError, match="forbids") as failure:
        remove(bench, *paths, SECOND)
    assert failure.value.outcome == Outcome(failed=(1,), missing=(3,))
    assert failure.value.exit_code == ExitCode.STORAGE_UNWRITABLE
    monkeypatch.undo()
    assert remove(bench, *paths, SECOND) == Outcome(missing=(3,))


def test_a_directory_that_is_not_readable_holds_up_no_other(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(bench, FIRST, THIRD)
    monkeypatch.setattr(os, "open", refusing(os.open, "b", errno.EIO))
    with pytest.raises(NotAllRemovedError) as failure:
        remove(bench, THIRD, FIRST)
    assert failure.value.outcome == Outcome(failed=(0,))
    assert FIRST not in bench.files


def test_a_full_volume_loses_files_all_the_same(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(bench, FIRST)
    (bench.exports / f"{FIRST}.json").unlink()
    full = refusing(os.open, f".{file_name(1)}.removed", errno.ENOSPC)
    monkeypatch.setattr(os, "open", full)
    assert remove(bench, FIRST) == Outcome()
    assert bench.files == []


def test_what_failed_is_in_the_report_of_the_process(bench: Bench) -> None:
    store(bench, FIRST)
    exit_code, outcome = run(bench, FIRST, SECOND, TEST_REFUSED="unlink")
    assert exit_code == ExitCode.STORAGE_UNWRITABLE
    assert (outcome.failed, outcome.missing) == ((0,), (1,))
    assert "read-only" in str(outcome.message)


def test_links_are_not_followed(bench: Bench, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    (bench.exports / "p").mkdir()
    for name in (file_name(1), f"{file_name(1)}.json"):
        (bench.exports / "p" / name).symlink_to(victim)
    (bench.exports / "q").mkdir()
    (bench.exports / "q/a").symlink_to(tmp_path)
    assert remove(bench, FIRST, path_of(2, "q", "a")) == Outcome(missing=(1,))
    assert victim.read_text() == "untouched"


def test_the_report_of_the_largest_batch_fits() -> None:
    numbers = tuple(range(200))
    outcome = Outcome(message="é" * 9000, missing=numbers[::2], failed=numbers[1::2])
    text = outcome_text(outcome)
    assert len(text) <= TERMINATION_MESSAGE_BYTES
    read = read_outcome(text)
    assert (read.missing, read.failed) == (outcome.missing, outcome.failed)
    assert read.message


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}x",
        "7",
        "[7]",
        '["x"]',
        json.dumps([f"p/../q/{file_name(1)}"]),
        json.dumps([f"/{file_name(1)}"]),
        json.dumps([f"p//{file_name(1)}"]),
        json.dumps([f"p/{file_name(1)}\n"]),
        json.dumps(["p/20260129T153000Z.sql"]),
        json.dumps([f"../{file_name(1)}"]),
    ],
)
def test_paths_that_no_export_has_are_refused(text: str) -> None:
    with pytest.raises(Failure, match="EXPORT_FILES") as failure:
        read_files({ENV_FILES: text})
    assert failure.value.exit_code == ExitCode.BAD_REQUEST


def test_a_path_in_parts() -> None:
    assert read_files(values(FIRST, THIRD)) == [
        StoredFile("p", None, file_name(1)),
        StoredFile("p", "a/b", file_name(3)),
    ]
