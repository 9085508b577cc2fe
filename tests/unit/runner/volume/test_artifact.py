"""The volume: directories, partial files, what a hostile or crashed neighbour left there."""

import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from backupexport_contract.reasons import ExitCode
from backupexport_runner.storage.failures import TakenOverFailure
from backupexport_runner.task.clock import seconds_now
from backupexport_runner.task.failure import Failure
from backupexport_runner.volume.artifact import (
    PartialFile,
    partial_name,
    remove_abandoned_partials,
    remove_file,
    remove_stale_partials,
)
from backupexport_runner.volume.directories import existing_directory, made_directory

NAME = "20260129T153000Z-0b7c1111-2222-4333-8444-555566667777.sql.zst"
OTHER = "20260129T153000Z-aaaaaaaa-2222-4333-8444-555566667777.sql"
ATTEMPT = "bex-0b7c-x7k2p"
LATER = "bex-0b7c-9qmz4"
JOB_ID = "0b7c1111-2222-4333-8444-555566667777"


def contents(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir())


def test_a_file_appears_when_it_is_published(tmp_path: Path) -> None:
    with made_directory(tmp_path, "a/b") as directory:
        with PartialFile(directory, NAME, ATTEMPT) as file:
            file.write(b"one")
            file.write(memoryview(b"two"))
            file.sync()
            assert contents(tmp_path / "a/b") == [partial_name(NAME, ATTEMPT)]
            file.publish()
        assert contents(tmp_path / "a/b") == [NAME]
    assert (tmp_path / "a/b" / NAME).read_bytes() == b"onetwo"
    assert stat.S_IMODE((tmp_path / "a/b" / NAME).stat().st_mode) & 0o137 == 0


def test_a_file_that_is_not_published_goes(tmp_path: Path) -> None:
    with made_directory(tmp_path, None) as directory, PartialFile(directory, NAME, ATTEMPT) as file:
        file.write(b"one")
    assert contents(tmp_path) == []


def test_a_later_attempt_is_not_disturbed(tmp_path: Path) -> None:
    with made_directory(tmp_path, None) as directory:
        with PartialFile(directory, NAME, ATTEMPT) as old:
            assert remove_stale_partials(directory, JOB_ID) == [partial_name(NAME, ATTEMPT)]
            with PartialFile(directory, NAME, LATER) as new:
                with pytest.raises(TakenOverFailure, match="Another attempt"):
                    old.publish()
                old.discard()
                new.write(b"new")
                new.publish()
                with pytest.raises(TakenOverFailure):
                    old.publish()
        assert contents(tmp_path) == [NAME]
    assert (tmp_path / NAME).read_bytes() == b"new"


@pytest.mark.parametrize("call", ["link", "rename"])
def test_the_first_of_two_files_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    if call == "rename":
        refuse_links(monkeypatch, errno.EPERM)
    with (
        made_directory(tmp_path, None) as directory,
        PartialFile(directory, NAME, ATTEMPT) as old,
        PartialFile(directory, NAME, LATER) as new,
    ):
        new.write(b"new")
        new.publish()
        with pytest.raises(TakenOverFailure):
            old.publish()
        new.discard()
        old.discard()
        assert (old.is_gone, new.is_gone) == (True, False)
        assert (tmp_path / NAME).read_bytes() == b"new"
    assert contents(tmp_path) == [NAME]
    assert (tmp_path / NAME).stat().st_nlink == 1


def refuse_links(monkeypatch: pytest.MonkeyPatch, number: int, *, is_done: bool = False) -> None:
    real = os.link

    def link(*arguments: Any, **options: Any) -> None:
        if is_done:
            real(*arguments, **options)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", link)


def test_a_file_is_closed_when_it_loses_its_hidden_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NFS would keep it under a third name, and a download takes no file with two."""
    unlink = os.unlink
    still_open: list[str] = []

    def looking(name: str, *, dir_fd: int) -> None:
        links = [path.readlink().name for path in Path("/proc/self/fd").iterdir() if path.exists()]
        still_open.extend(link for link in links if link in (name, NAME))
        unlink(name, dir_fd=dir_fd)

    with made_directory(tmp_path, None) as directory, PartialFile(directory, NAME, LATER) as file:
        monkeypatch.setattr(os, "unlink", looking)
        file.publish()
    assert contents(tmp_path) == [NAME]
    assert still_open == []


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    refuse_links(monkeypatch, number)
    with made_directory(tmp_path, None) as directory, PartialFile(directory, NAME, LATER) as file:
        file.write(b"new")
        file.publish()
    assert contents(tmp_path) == [NAME]


def test_a_link_whose_answer_was_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with made_directory(tmp_path, None) as directory, PartialFile(directory, NAME, LATER) as file:
        refuse_links(monkeypatch, errno.EEXIST, is_done=True)
        file.publish()
    assert contents(tmp_path) == [NAME]


@pytest.mark.parametrize("is_done", [False, True])
def test_a_link_that_fails_may_have_been_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_done: bool
) -> None:
    file = None
    with made_directory(tmp_path, None) as directory:
        refuse_links(monkeypatch, errno.EIO, is_done=is_done)
        with pytest.raises(Failure), PartialFile(directory, NAME, LATER) as file:
            file.publish()
    assert file
    assert file.is_gone is not is_done
    assert contents(tmp_path) == ([NAME] if is_done else [])


def test_what_is_found_late_stays(tmp_path: Path) -> None:
    (tmp_path / partial_name(NAME, ATTEMPT)).touch()
    with made_directory(tmp_path, None) as directory:
        assert remove_stale_partials(directory, JOB_ID, seconds_now()) is None
        assert contents(tmp_path) == [partial_name(NAME, ATTEMPT)]
        removed = remove_stale_partials(directory, JOB_ID, seconds_now() + 60)
    assert removed == [partial_name(NAME, ATTEMPT)]
    assert contents(tmp_path) == []


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    exports = tmp_path / "exports"
    exports.mkdir()
    (exports / NAME).symlink_to(victim)
    (exports / partial_name(NAME, ATTEMPT)).symlink_to(victim)
    with made_directory(exports, None) as directory:
        with pytest.raises(Failure), PartialFile(directory, NAME, ATTEMPT):
            pass
        remove_stale_partials(directory, JOB_ID)
        with PartialFile(directory, NAME, ATTEMPT) as file:
            file.write(b"new")
            with pytest.raises(TakenOverFailure):
                file.publish()
            # As an attempt does that begins.
            remove_file(directory, NAME)
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
        PartialFile(directory, NAME, ATTEMPT) as file,
    ):
        file.publish()
    assert failure.value.exit_code == ExitCode.STORAGE_UNWRITABLE
    assert contents(tmp_path) == [NAME]


@pytest.mark.parametrize(
    ("number", "exit_code"),
    [(errno.ENOSPC, ExitCode.STORAGE_FULL), (errno.EIO, ExitCode.STORAGE_FALTERING)],
)
@pytest.mark.parametrize("call", ["write", "fsync", "link", "open"])
def test_the_volume_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int, exit_code: ExitCode
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    def attempt(directory: int) -> None:
        with PartialFile(directory, NAME, ATTEMPT) as file:
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
        with PartialFile(directory, NAME, ATTEMPT) as file:
            monkeypatch.setattr(os, call, refuse)
        monkeypatch.undo()
        file.discard()
        assert not file.is_gone
        remove_stale_partials(directory, JOB_ID)
        with PartialFile(directory, NAME, ATTEMPT) as file:
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
        file = PartialFile(directory, NAME, ATTEMPT)
        with monkeypatch.context() as patch:
            patch.setattr(os, "open", refuse)
            with pytest.raises(Failure), file:
                pass
    assert file.is_gone is not is_made


def test_stale_partials_of_this_job_only(tmp_path: Path) -> None:
    mine = [
        *(partial_name(NAME, attempt) for attempt in (ATTEMPT, LATER)),
        *(partial_name(NAME + ".json", attempt) for attempt in (ATTEMPT, LATER, "bex-a.b-x")),
        # An older runner's.
        f".{NAME}.partial",
        f".{NAME}.json.partial",
    ]
    foreign = [partial_name(OTHER, ATTEMPT), NAME, f".{JOB_ID}.partial", f".{NAME}"]
    for name in mine + foreign:
        (tmp_path / name).touch()
    with made_directory(tmp_path, None) as directory:
        assert sorted(remove_stale_partials(directory, JOB_ID) or ()) == sorted(mine)
    assert contents(tmp_path) == sorted(foreign)


def test_abandoned_partials(tmp_path: Path) -> None:
    below = tmp_path / "a"
    below.mkdir()
    for path in (
        below / partial_name(OTHER, ATTEMPT),
        below / partial_name(NAME, ATTEMPT),
        below / OTHER,
    ):
        path.touch()
    (below / "loop").symlink_to(tmp_path)
    now = 10**9
    os.utime(below / partial_name(OTHER, ATTEMPT), (0, now - 25 * 3600))
    os.utime(below / partial_name(NAME, ATTEMPT), (0, now - 23 * 3600))
    os.utime(below / OTHER, (0, 0))
    assert remove_abandoned_partials(tmp_path, now) == [str(below / partial_name(OTHER, ATTEMPT))]
    assert contents(below) == sorted([OTHER, partial_name(NAME, ATTEMPT), "loop"])
