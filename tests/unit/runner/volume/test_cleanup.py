"""`tidy` and `remove` on a volume: what goes, what stays, what they never touch."""

import errno
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from backupexport_contract.reasons import ExitCode
from backupexport_contract.runner_protocol import Artifact
from backupexport_runner.storage.manifest import manifest_name
from backupexport_runner.task.clock import seconds_now
from backupexport_runner.task.failure import Failure
from backupexport_runner.task.log import Log, Scrubber
from backupexport_runner.task.request import Request, read_request
from backupexport_runner.volume import cleanup
from backupexport_runner.volume.artifact import PartialFile, partial_name
from backupexport_runner.volume.cleanup import remove, tidy
from backupexport_runner.volume.directories import made_directory
from backupexport_runner.volume.manifest import whole_artifact
from runner_bench import Bench

Environment = Callable[..., dict[str, str]]
Task = Callable[[Path, Request, Log], Artifact | None]

OTHER = "20260129T153000Z-aaaaaaaa-2222-4333-8444-555566667777.sql.zst"
TASKS = pytest.mark.parametrize("task", [tidy, remove])


class Volume:
    """A bench after one export with `storage_path` a/b, and what a cleanup says of it."""

    def __init__(self, bench: Bench, values: dict[str, str]) -> None:
        self.bench = bench
        self.values = values | {"EXPORT_STORAGE_PATH": "a/b"}
        self.request = read_request(self.values)
        self.directory = bench.exports / "a" / "b"
        self.file = self.directory / self.request.file_name
        self.manifest = self.directory / manifest_name(self.request.file_name)
        self.partials = [
            self.directory / partial_name(self.request.file_name, "bex-1"),
            self.directory / partial_name(manifest_name(self.request.file_name), "bex-2"),
        ]
        self.output = io.StringIO()

    def export(self) -> Artifact:
        self.bench.says("echo x")
        return self.bench.run(self.values)

    def run(self, task: Task) -> Artifact | None:
        return task(self.bench.exports, self.request, Log(Scrubber(), self.output))

    @property
    def told(self) -> list[tuple[str, str]]:
        lines = [json.loads(line) for line in self.output.getvalue().splitlines()]
        return [(line["event"], line["name"]) for line in lines]

    @property
    def names(self) -> list[str]:
        return sorted(path.name for path in self.directory.iterdir())


@pytest.fixture
def volume(bench: Bench, make_environment: Environment) -> Volume:
    volume = Volume(bench, make_environment())
    volume.directory.mkdir(parents=True)
    return volume


def refusing(call: Callable[..., object], wanted: str, number: int) -> Callable[..., object]:
    def refuse(target: object, *arguments: object, **options: object) -> object:
        if target == wanted:
            raise OSError(number, os.strerror(number))
        return call(target, *arguments, **options)

    return refuse


def test_tidy_removes_partials_and_says_so(volume: Volume) -> None:
    for path in volume.partials:
        path.write_text("half")
    assert volume.run(tidy) is None
    assert volume.names == []
    assert sorted(volume.told) == sorted(
        ("stale_partial_removed", path.name) for path in volume.partials
    )


def test_tidy_reports_a_whole_artifact_and_keeps_it(volume: Volume) -> None:
    artifact = volume.export()
    volume.partials[0].write_text("half")
    assert volume.run(tidy) == artifact
    assert volume.run(tidy) == artifact
    assert volume.names == sorted([volume.file.name, volume.manifest.name])


def test_tidy_removes_a_file_that_still_has_its_hidden_name(volume: Volume) -> None:
    """As an attempt leaves it that is killed between the two names."""
    volume.file.write_text("whole")
    volume.partials[0].hardlink_to(volume.file)
    assert volume.run(tidy) is None
    assert volume.names == []


def test_an_attempt_that_was_held_up_leaves_everything(volume: Volume) -> None:
    def late() -> Artifact | None:
        log = Log(Scrubber(), volume.output)
        return tidy(volume.bench.exports, volume.request, log, seconds_now())

    volume.partials[0].write_text("half")
    volume.file.write_text("its manifest is about to come")
    before = volume.names
    assert late() is None
    assert volume.names == before
    volume.run(tidy)
    artifact = volume.export()
    assert late() == artifact


def test_tidy_removes_a_file_that_nothing_proves(volume: Volume) -> None:
    volume.export()
    volume.manifest.unlink()
    assert volume.run(tidy) is None
    assert volume.names == []
    assert volume.told == [("unproven_file_removed", volume.file.name)]


@pytest.mark.parametrize("damage", ["cut", "another job's", "no JSON", "alone", "a directory"])
def test_tidy_removes_what_does_not_agree(volume: Volume, damage: str) -> None:
    volume.export()
    if damage == "cut":
        volume.file.write_bytes(b"")
    elif damage == "another job's":
        manifest = json.loads(volume.manifest.read_text())
        volume.manifest.write_text(json.dumps(manifest | {"job_id": "another"}))
    elif damage == "no JSON":
        volume.manifest.write_bytes(b"\xff")
    else:
        volume.file.unlink()
        if damage == "a directory":
            volume.file.mkdir()
    assert volume.run(tidy) is None
    assert volume.names == ([volume.file.name] if damage == "a directory" else [])


@pytest.mark.parametrize("at", [tidy, "retry"])
def test_a_manifest_that_can_not_be_read_removes_nothing(
    volume: Volume, monkeypatch: pytest.MonkeyPatch, at: object
) -> None:
    volume.export()
    monkeypatch.setattr(os, "open", refusing(os.open, volume.manifest.name, errno.EIO))
    with pytest.raises(Failure) as failure:
        volume.run(tidy) if at is tidy else volume.export()
    expected = ExitCode.STORAGE_FALTERING if at is tidy else ExitCode.STORAGE_AWAY
    assert failure.value.exit_code == expected
    assert volume.names == sorted([volume.file.name, volume.manifest.name])


def test_remove_removes_everything_of_the_job(volume: Volume) -> None:
    volume.export()
    volume.partials[1].write_text("half")
    assert volume.run(remove) is None
    assert volume.names == []
    assert volume.told == [
        ("stale_partial_removed", volume.partials[1].name),
        ("file_removed", volume.manifest.name),
        ("file_removed", volume.file.name),
    ]


def test_the_manifest_is_gone_from_the_disk_before_the_file_goes(
    volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume.export()
    calls: list[str] = []
    unlink, fsync = os.unlink, os.fsync

    def told_unlink(name: str, *, dir_fd: int) -> None:
        calls.append(name)
        unlink(name, dir_fd=dir_fd)

    def told_fsync(descriptor: int) -> None:
        calls.append("fsync")
        fsync(descriptor)

    monkeypatch.setattr(os, "unlink", told_unlink)
    monkeypatch.setattr(os, "fsync", told_fsync)
    volume.run(remove)
    assert calls == ["fsync", volume.manifest.name, "fsync", volume.file.name, "fsync"]


@TASKS
def test_missing_things_are_fine(volume: Volume, task: Task) -> None:
    assert volume.run(task) is None
    volume.directory.rmdir()
    assert volume.run(task) is None
    volume.directory.parent.rmdir()
    assert volume.run(task) is None
    volume.bench.exports.rmdir()
    assert volume.run(task) is None
    assert volume.told == []


@TASKS
def test_other_files_stay(volume: Volume, task: Task) -> None:
    elsewhere = volume.directory.parent / volume.partials[0].name
    others = [
        OTHER,
        manifest_name(OTHER),
        partial_name(OTHER, "bex-1"),
        f".{volume.request.job_id}.partial",
        f"{volume.file.name}.bak",
        f"{volume.file.name}.partial",
    ]
    for path in [elsewhere, *(volume.directory / name for name in others)]:
        path.write_text("untouched")
    volume.run(task)
    assert volume.names == sorted(others)
    assert elsewhere.exists()


@TASKS
def test_links_are_not_followed(volume: Volume, tmp_path: Path, task: Task) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    for path in (*volume.partials, volume.file, volume.manifest):
        path.symlink_to(victim)
    assert volume.run(task) is None
    assert victim.read_text() == "untouched"
    assert volume.names == []


@TASKS
@pytest.mark.parametrize("segment", ["a", "a/b"])
@pytest.mark.parametrize("in_the_way", ["link", "file"])
def test_what_stands_in_the_way_of_the_directory(
    volume: Volume, tmp_path: Path, task: Task, segment: str, in_the_way: str
) -> None:
    volume.export()
    moved = tmp_path / "outside"
    path = volume.bench.exports / segment
    path.rename(moved)
    before = sorted(moved.rglob("*"))
    if in_the_way == "link":
        path.symlink_to(moved)
    else:
        path.touch()
    assert volume.run(task) is None
    assert sorted(moved.rglob("*")) == before


@TASKS
def test_directories_of_these_names_stay(volume: Volume, task: Task) -> None:
    for path in (*volume.partials, volume.file, volume.manifest):
        path.mkdir()
        (path / "inside").touch()
    before = volume.names
    assert volume.run(task) is None
    assert volume.names == before
    assert volume.told == []


@TASKS
@pytest.mark.parametrize("call", ["unlink", "fsync", "listdir", "stat"])
def test_the_volume_refuses(
    volume: Volume, monkeypatch: pytest.MonkeyPatch, task: Task, call: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    volume.partials[0].write_text("half")
    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(Failure, match="read-only") as failure:
        volume.run(task)
    monkeypatch.undo()
    assert failure.value.exit_code == ExitCode.STORAGE_UNWRITABLE


@TASKS
def test_a_read_only_volume_without_leftovers(
    volume: Volume, monkeypatch: pytest.MonkeyPatch, task: Task
) -> None:
    # The kernel refuses before it looks whether there is anything to remove.
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "unlink", refuse)
    volume.file.mkdir()
    assert volume.run(task) is None


@TASKS
def test_a_directory_that_can_not_be_opened(
    volume: Volume, monkeypatch: pytest.MonkeyPatch, task: Task
) -> None:
    monkeypatch.setattr(os, "open", refusing(os.open, "b", errno.EIO))
    with pytest.raises(Failure) as failure:
        volume.run(task)
    assert failure.value.exit_code == ExitCode.STORAGE_FALTERING


@TASKS
@pytest.mark.parametrize("published", [False, True])
def test_an_attempt_that_still_runs_can_not_complete(
    volume: Volume, task: Task, published: bool
) -> None:
    def attempt(directory: int) -> None:
        with (
            PartialFile(directory, volume.file.name, "bex-1") as file,
            PartialFile(directory, volume.manifest.name, "bex-1") as manifest,
        ):
            if published:
                file.publish()
            volume.run(task)
            (manifest if published else file).publish()

    with (
        made_directory(volume.bench.exports, "a/b") as directory,
        pytest.raises(Failure, match="its cleanup") as failure,
    ):
        attempt(directory)
    assert failure.value.exit_code == ExitCode.INTERNAL
    assert volume.names == []


@TASKS
def test_an_attempt_that_loses_its_file_in_the_last_moment(
    volume: Volume, monkeypatch: pytest.MonkeyPatch, task: Task
) -> None:
    link = os.link

    def late(*arguments: Any, **options: Any) -> None:
        volume.run(task)
        link(*arguments, **options)

    def attempt(directory: int) -> None:
        with PartialFile(directory, volume.file.name, "bex-1") as file:
            monkeypatch.setattr(os, "link", late)
            file.publish()

    with (
        made_directory(volume.bench.exports, "a/b") as directory,
        pytest.raises(Failure, match="its cleanup") as failure,
    ):
        attempt(directory)
    assert failure.value.exit_code == ExitCode.INTERNAL
    assert volume.names == []


def test_an_attempt_that_wants_to_publish_after_the_judgement(
    volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    def attempt(directory: int) -> None:
        with PartialFile(directory, volume.file.name, "bex-1") as file:

            def late(at: int, request: Request) -> object:
                judgement = whole_artifact(at, request)
                file.publish()
                return judgement

            monkeypatch.setattr(cleanup, "whole_artifact", late)
            volume.run(tidy)

    with (
        made_directory(volume.bench.exports, "a/b") as directory,
        pytest.raises(Failure, match="its cleanup"),
    ):
        attempt(directory)
    assert volume.names == []


@pytest.mark.parametrize("has_file_before", [True, False])
@pytest.mark.parametrize("moment", ["before the listing", "after the judgement"])
def test_an_attempt_that_publishes_meanwhile_keeps_its_artifact(
    volume: Volume, monkeypatch: pytest.MonkeyPatch, moment: str, has_file_before: bool
) -> None:
    if has_file_before:
        volume.file.write_text("of an attempt that was killed")
    name = "remove_stale_partials" if moment == "before the listing" else "whole_artifact"
    real = getattr(cleanup, name)
    exported: list[Artifact] = []

    def with_an_attempt(*arguments: object) -> object:
        monkeypatch.setattr(cleanup, name, real)
        if moment == "before the listing":
            exported.append(volume.export())
            return real(*arguments)
        judgement = real(*arguments)
        exported.append(volume.export())
        return judgement

    monkeypatch.setattr(cleanup, name, with_an_attempt)
    assert volume.run(tidy) == (exported[0] if moment == "before the listing" else None)
    assert volume.names == sorted([volume.file.name, volume.manifest.name])
