"""The volume: directories, partial files, what a hostile or crashed neighbour left there."""

import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from backupexport_contract.reasons import ExitCode
from backupexport_runner.task.failure import Failure
from backupexport_runner.volume.artifact import (
    PartialFile,
    partial_name,
    remove_abandoned_partials,
    remove_stale_partials,
)
from backupexport_runner.volume.directories import existing_directory, made_directory

NAME = "20260129T153000Z-0b7c1111-2222-4333-8444-555566667777.sql.zst"
OTHER = "20260129T153000Z-aaaaaaaa-2222-4333-8444-555566667777.sql"
JOB_ID = "0b7c1111-2222-4333-8444-555566667777"


def contents(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir())


def test_a_file_appears_when_it_is_published(tmp_path: Path) -> None:
    with made_directory(tmp_path, "a/b") as directory:
        with PartialFile(directory, NAME) as file:
            file.write(b"one")
            file.write(memoryview(b"two"))
            file.sync()
            assert contents(tmp_path / "a/b") == [partial_name(NAME)]
            file.publish()
        assert contents(tmp_path / "a/b") == [NAME]
    assert (tmp_path / "a/b" / NAME).read_bytes() == b"onetwo"
    assert stat.S_IMODE((tmp_path / "a/b" / NAME).stat().st_mode) & 0o137 == 0


def test_a_file_that_is_not_published_goes(tmp_path: Path) -> None:
    with made_directory(tmp_path, None) as directory, PartialFile(directory, NAME) as file:
        file.write(b"one")
    assert contents(tmp_path) == []


def test_a_later_attempt_is_not_disturbed(tmp_path: Path) -> None:
    with made_directory(tmp_path, None) as directory:
        with PartialFile(directory, NAME) as old:
            assert remove_stale_partials(directory, JOB_ID) == [partial_name(NAME)]
            with PartialFile(directory, NAME) as new:
                with pytest.raises(Failure, match="Another attempt"):
                    old.publish()
                old.discard()
                new.write(b"new")
                new.publish()
        assert contents(tmp_path) == [NAME]


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    exports = tmp_path / "exports"
    exports.mkdir()
    (exports / NAME).symlink_to(victim)
    (exports / partial_name(NAME)).symlink_to(victim)
    with made_directory(exports, None) as directory:
        with pytest.raises(Failure), PartialFile(directory, NAME):
            pass
        remove_stale_partials(directory, JOB_ID)
        with PartialFile(directory, NAME) as file:
            file.write(b"new")
            file.publish()
    assert victim.read_text() == "untouched"
    assert (exports / NAME).read_bytes() == b"new"
    assert not (exports / NAME).is_symlink()


@pytest.mark.parametrize("storage_path", ["link", "link/below", "a/link"])
def test_no_link_leads_out_of_the_volume(tmp_path: Path, storage_path: str) -> None:
    outside = tmp_path / "outside"
    exports = tmp_path / "exports"
    outside.mkdir()
    (exports / "a").mkdir(parents=True)
    (exports / "link").symlink_to(outside)
    (exports / "a" / "link").symlink_to("../../outside")
    with (
        pytest.raises(Failure, match="storage_path") as failure,
        made_directory(exports, storage_path),
    ):
        pass
    assert failure.value.exit_code == ExitCode.STORAGE_UNWRITABLE
    with existing_directory(exports, storage_path) as directory:
        assert directory is None
    assert contents(outside) == []


@pytest.mark.parametrize("code", [errno.ENXIO, errno.ENODEV, errno.EIO, errno.ENAMETOOLONG])
def test_a_volume_that_cannot_tell_of_a_directory_has_not_told_that_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(code, "no answer")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(Failure), existing_directory(tmp_path, "a"):
        pass


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with (
        pytest.raises(Failure, match="taken by something else"),
        made_directory(tmp_path, "a/b"),
    ):
        pass


def test_a_directory_with_the_final_name(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    with (
        made_directory(tmp_path, None) as directory,
        pytest.raises(Failure) as failure,
        PartialFile(directory, NAME) as file,
    ):
        file.publish()
    assert failure.value.exit_code == ExitCode.STORAGE_UNWRITABLE
    assert contents(tmp_path) == [NAME]


@pytest.mark.parametrize(
    ("number", "exit_code"),
    [(errno.ENOSPC, ExitCode.STORAGE_FULL), (errno.EIO, ExitCode.STORAGE_FALTERING)],
)
@pytest.mark.parametrize("call", ["write", "fsync", "rename", "open"])
def test_the_volume_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int, exit_code: ExitCode
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    def attempt(directory: int) -> None:
        with PartialFile(directory, NAME) as file:
            file.write(b"x")
            file.sync()
            file.publish()

    with made_directory(tmp_path, None) as directory:
        monkeypatch.setattr(os, call, refuse)
        with pytest.raises(Failure) as failure:
            attempt(directory)
        monkeypatch.undo()
    assert failure.value.exit_code == exit_code
    assert contents(tmp_path) == []


@pytest.mark.parametrize("call", ["unlink", "fsync", "stat"])
def test_a_discard_that_fails_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with made_directory(tmp_path, None) as directory:
        with PartialFile(directory, NAME) as file:
            monkeypatch.setattr(os, call, refuse)
        monkeypatch.undo()
        file.discard()
        assert not file.is_gone
        remove_stale_partials(directory, JOB_ID)
        with PartialFile(directory, NAME) as file:
            assert not file.is_gone
        assert file.is_gone


@pytest.mark.parametrize("is_made", [False, True])
def test_a_file_that_could_not_be_opened_may_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_made: bool
) -> None:
    real = os.open

    def refuse(*arguments: Any, **options: Any) -> None:
        if is_made:
            os.close(real(*arguments, **options))
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with made_directory(tmp_path, None) as directory:
        file = PartialFile(directory, NAME)
        with monkeypatch.context() as patch:
            patch.setattr(os, "open", refuse)
            with pytest.raises(Failure), file:
                pass
    assert file.is_gone is not is_made


def test_stale_partials_of_this_job_only(tmp_path: Path) -> None:
    mine = [partial_name(NAME), partial_name(NAME + ".json")]
    foreign = [partial_name(OTHER), NAME, f".{JOB_ID}.partial", f".{NAME}"]
    for name in mine + foreign:
        (tmp_path / name).touch()
    with made_directory(tmp_path, None) as directory:
        assert sorted(remove_stale_partials(directory, JOB_ID)) == sorted(mine)
    assert contents(tmp_path) == sorted(foreign)


def test_abandoned_partials(tmp_path: Path) -> None:
    below = tmp_path / "a"
    below.mkdir()
    for path in (below / partial_name(OTHER), below / partial_name(NAME), below / OTHER):
        path.touch()
    (below / "loop").symlink_to(tmp_path)
    now = 10**9
    os.utime(below / partial_name(OTHER), (0, now - 25 * 3600))
    os.utime(below / partial_name(NAME), (0, now - 23 * 3600))
    os.utime(below / OTHER, (0, 0))
    assert remove_abandoned_partials(tmp_path, now) == [str(below / partial_name(OTHER))]
    assert contents(below) == sorted([OTHER, partial_name(NAME), "loop"])
