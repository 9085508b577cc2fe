"""Files for the user alone."""

import os
from pathlib import Path

import pytest
from backupexport_cli.errors import CliError
from backupexport_cli.login import private_files
from backupexport_cli.login.private_files import lock, read_json, write_json


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o601])
def test_a_file_that_others_can_open_is_refused(home: Path, mode: int) -> None:
    file = home / "x.json"
    write_json(file, {"a": 1})
    file.chmod(mode)
    with pytest.raises(CliError, match="open to other users") as caught:
        read_json(file)
    assert f"chmod 600 {file}" in caught.value.advice


def test_the_umask_opens_nothing(home: Path) -> None:
    before = os.umask(0)
    try:
        write_json(home / "x.json", {})
    finally:
        os.umask(before)
    assert (home / "x.json").stat().st_mode & 0o777 == 0o600
    assert home.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_a_folder_that_others_can_write_to_is_refused(home: Path, mode: int) -> None:
    home.mkdir()
    home.chmod(mode)
    with pytest.raises(CliError, match="Other users can put files"):
        write_json(home / "x.json", {})


@pytest.mark.parametrize("mode", [0o755, 0o1777])
def test_a_folder_of_others_stays_as_it_is(home: Path, mode: int) -> None:
    home.mkdir()
    home.chmod(mode)
    write_json(home / "x.json", {})
    assert home.stat().st_mode & 0o7777 == mode


def test_a_fifo_does_not_hold_anybody_up(home: Path) -> None:
    home.mkdir()
    os.mkfifo(home / "x.json", 0o600)
    with pytest.raises(CliError, match="no file"):
        read_json(home / "x.json")


def test_another_users_file_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = home / "x.json"
    write_json(file, {})
    os.chown(file, 12345, -1) if os.geteuid() == 0 else pytest.skip("needs root")
    with pytest.raises(CliError, match="belongs to another user"):
        read_json(file)


def test_a_write_that_fails_leaves_the_old_file(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = home / "x.json"
    write_json(file, {"a": 1})

    def no_space(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(CliError, match="No space left"):
        write_json(file, {"a": 2})
    assert read_json(file) == {"a": 1}
    assert list(home.iterdir()) == [file]


def test_a_lock_that_is_held_is_not_waited_for_without_end(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(private_files, "_LOCK_SECONDS", 0.0)
    with lock(home / "l"), pytest.raises(CliError, match="Another backupexport"), lock(home / "l"):
        pass
    with lock(home / "l"):
        pass
