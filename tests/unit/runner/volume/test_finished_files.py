"""The files of a project that count, though no BackupExport may tell of them any more."""

import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from backupexport_contract import rules
from backupexport_contract import runner_protocol as protocol
from backupexport_contract.reasons import ExitCode
from backupexport_runner.task.failure import Failure
from backupexport_runner.volume import finished_files
from backupexport_runner.volume.finished_files import finished_bytes
from backupexport_runtime import volume
from runner_bench import Bench

Environment = Callable[..., dict[str, str]]


def name(number: int, ending: str = "sql.zst") -> str:
    return f"20250101T000000Z-0b7c1111-2222-4333-8444-{number:012d}.{ending}"


def put(directory: Path, file_name: str, size: int) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / file_name).write_bytes(bytes(size))


def test_the_finished_files_of_all_directories_count_and_nothing_else(tmp_path: Path) -> None:
    mount, elsewhere = tmp_path / "mount", tmp_path / "elsewhere"
    put(mount, name(1), 1)
    put(mount, name(2, "dump"), 10)
    put(mount / "a" / "b", name(3, "tar"), 100)
    for other in (f"{name(4)}.json", f".{name(5)}.partial", "notes.sql", ".project"):
        put(mount, other, 1000)
    put(elsewhere, name(6), 10_000)
    (mount / name(7)).symlink_to(elsewhere / name(6))
    (mount / "there").symlink_to(elsewhere)
    (mount / name(8)).mkdir()
    assert finished_bytes(mount) == (111, True)


def test_hostile_names_and_kinds_are_harmless(tmp_path: Path) -> None:
    put(tmp_path, name(1), 5)
    hostile = [b"--help", b"a\nb", b"\xff\xfe", b"$(id)", "é".encode(), b"x" * 255]
    for each in hostile:
        put(tmp_path / os.fsdecode(each), name(2), 7)
    os.mkfifo(tmp_path / name(3))
    with socket.socket(socket.AF_UNIX) as endless:
        # A path may be longer than a socket's name.
        here = os.open(tmp_path, os.O_RDONLY)
        try:
            endless.bind(f"/proc/self/fd/{here}/{name(4)}")
        finally:
            os.close(here)
        assert finished_bytes(tmp_path) == (5 + 7 * len(hostile), True)


def test_what_leads_out_while_it_looks_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount, elsewhere = tmp_path / "mount", tmp_path / "elsewhere"
    put(mount / "a", name(1), 1)
    put(elsewhere, name(2), 10_000)
    open_directory = volume.open_directory

    def swapped(root: Path, relative: str | None) -> int:
        if relative == "a":
            (root / "a").rename(tmp_path / "gone")
            (root / "a").symlink_to(elsewhere)
        return open_directory(root, relative)

    monkeypatch.setattr(volume, "open_directory", swapped)
    assert finished_bytes(mount) == (0, True)


def test_a_volume_without_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(20):
        put(tmp_path / str(number), name(number), 1)
    monkeypatch.setattr(finished_files, "_MOST_ENTRIES", 30)
    stored, is_whole = finished_bytes(tmp_path)
    assert 0 < stored < 20
    assert not is_whole
    monkeypatch.setattr(finished_files, "_LONGEST_SECONDS", 0.0)
    assert finished_bytes(tmp_path) == (0, False)


def test_a_directory_that_goes_meanwhile_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, name(1), 1)
    put(tmp_path / "a", name(2), 10)
    put(tmp_path / "b", name(3), 100)
    open_directory = volume.open_directory

    def refused(root: Path, relative: str | None) -> int:
        if relative == "a":
            raise OSError(errno.EACCES, "Permission denied")
        return open_directory(root, relative)

    monkeypatch.setattr(volume, "open_directory", refused)
    assert finished_bytes(tmp_path) == (101, True)


@pytest.mark.parametrize("room", ["1000000", str(2**40)])
def test_a_project_whose_files_leave_no_room_fails_before_it_asks_the_server(
    bench: Bench, make_environment: Environment, monkeypatch: pytest.MonkeyPatch, room: str
) -> None:
    def asked(_: object) -> None:
        raise AssertionError("the server was asked")

    monkeypatch.setattr("backupexport_runner.export.exporter.libpq_parameters", asked)
    put(bench.exports, name(1), 1_048_576)
    values = {protocol.ENV_ROOM_BYTES: room, protocol.ENV_MAX_STORED_BYTES: "1048576"}
    with pytest.raises(Failure, match=r"take 1\.0 MiB of maxStoredBytes, 1\.0 MiB") as caught:
        bench.run(make_environment(**values))
    assert caught.value.exit_code == ExitCode.STORAGE_FULL
    assert "administrator" in caught.value.message
    assert bench.files == [name(1)]


def test_files_that_nobody_told_of_take_their_room(
    bench: Bench, make_environment: Environment
) -> None:
    put(bench.exports / "old", name(1), 2_000)
    bench.says("head -c 1000 /dev/zero")
    given = {protocol.ENV_ROOM_BYTES: "3000", protocol.ENV_MAX_STORED_BYTES: "3000"}
    values = make_environment(compression="none", **given)
    assert bench.run(values).size_bytes == 1000
    put(bench.exports / "old", name(2), 1)
    (bench.exports / values["EXPORT_FILE_NAME"]).unlink()
    with pytest.raises(Failure, match="maxStoredBytes, which had left 999 B"):
        bench.run(values)


@pytest.mark.parametrize(
    ("smaller", "words"),
    [
        # What the operator counts is more.
        (protocol.ENV_ROOM_BYTES, "maxStoredBytes, which had left 999 B"),
        (protocol.ENV_MAX_BYTES, "beyond maxBytes, 999 B"),
    ],
)
def test_a_smaller_limit_holds(
    bench: Bench, make_environment: Environment, smaller: str, words: str
) -> None:
    bench.says("head -c 1000 /dev/zero")
    given = {smaller: "999", protocol.ENV_MAX_STORED_BYTES: "1000000"}
    with pytest.raises(Failure, match=words):
        bench.run(make_environment(compression="none", **given))


@pytest.mark.parametrize("left", [0, rules.LEAST_FILE_BYTES - 1])
def test_room_that_no_file_has_is_none(
    bench: Bench, make_environment: Environment, left: int
) -> None:
    put(bench.exports, name(1), 10_000 - left)
    bench.says("head -c 10 /dev/zero")
    with pytest.raises(Failure, match="of maxStoredBytes"):
        bench.run(make_environment(**{protocol.ENV_MAX_STORED_BYTES: "10000"}))
    put(bench.exports, name(1), 10_000 - rules.LEAST_FILE_BYTES)
    bench.run(make_environment(**{protocol.ENV_MAX_STORED_BYTES: "10000"}))


def test_a_count_that_was_cut_is_told(
    bench: Bench, make_environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(bench.exports, name(1), 1)
    monkeypatch.setattr(finished_files, "_MOST_ENTRIES", 0)
    bench.says("echo x")
    bench.run(make_environment(**{protocol.ENV_MAX_STORED_BYTES: "1000"}))
    assert [line["event"] for line in bench.log if "counted" in line["event"]] == [
        "finished_files_not_all_counted"
    ]
