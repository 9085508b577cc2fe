"""Nobody's export takes everybody's room: limits of a file, and what stays free on the volume."""

import os
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from backupexport_contract import runner_protocol as protocol
from backupexport_contract.reasons import ExitCode
from backupexport_runner.storage.room import Room
from backupexport_runner.task.failure import Failure
from runner_bench import Bench

Environment = Callable[..., dict[str, str]]

# Far more than any limit below: whoever stops late leaves some of it.
ENDLESS = "while :; do head -c 65536 /dev/urandom; done"


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({protocol.ENV_MAX_BYTES: "1048576"}, "maxBytes, 1.0 MiB"),
        ({protocol.ENV_ROOM_BYTES: "1048576"}, "maxStoredBytes, which had left 1.0 MiB"),
        (
            {protocol.ENV_MAX_BYTES: "2097152", protocol.ENV_ROOM_BYTES: "1048576"},
            "maxStoredBytes, which had left 1.0 MiB",
        ),
        ({protocol.ENV_ROOM_BYTES: "0"}, "maxStoredBytes, which had left 0 B"),
    ],
)
@pytest.mark.parametrize("compression", ["none", "zstd", "gzip"])
def test_a_dump_without_end_is_stopped_where_its_file_reaches_the_limit(
    bench: Bench,
    make_environment: Environment,
    compression: str,
    limits: dict[str, str],
    words: str,
) -> None:
    bench.says(ENDLESS)
    with pytest.raises(Failure, match=words) as caught:
        bench.run(make_environment(compression=compression, **limits))
    assert caught.value.exit_code == ExitCode.STORAGE_FULL
    assert "administrator" in caught.value.message
    assert bench.files == []


def test_a_file_of_just_the_limit_is_whole(bench: Bench, make_environment: Environment) -> None:
    bench.says("head -c 1000 /dev/zero")
    limits = {protocol.ENV_MAX_BYTES: "1000", protocol.ENV_ROOM_BYTES: "1000"}
    artifact = bench.run(make_environment(compression="none", **limits))
    assert artifact.size_bytes == 1000


@pytest.mark.parametrize(
    ("limits", "most"),
    [
        ({}, None),
        ({protocol.ENV_MAX_BYTES: "20480"}, 20480),
        ({protocol.ENV_MAX_BYTES: "20480", protocol.ENV_ROOM_BYTES: "10240"}, 10240),
        # A table compresses, so it may be larger than the file.
        ({protocol.ENV_MAX_BYTES: "20480", protocol.ENV_MAX_SPOOL_BYTES: "40960"}, 40960),
        ({protocol.ENV_MAX_SPOOL_BYTES: "10240"}, 10240),
    ],
)
def test_what_pg_dump_keeps_in_files_of_its_own_is_limited(
    bench: Bench, make_environment: Environment, limits: dict[str, str], most: int | None
) -> None:
    spool = bench.root / "spool"
    # The limit comes when pg_dump runs already; a real one first logs in.
    waits = (
        'tries=0; while [ "$(ulimit -f)" = unlimited ] && [ $((tries += 1)) -lt 500 ]; do :; done'
    )
    bench.says(
        f"{'' if most is None else waits}\necho dump\nexec head -c 65536 /dev/zero > {spool}"
    )
    if most is None:
        bench.run(make_environment("tar", **limits))
        assert spool.stat().st_size == 65536
        return
    with pytest.raises(Failure, match="A table, or a large object, is larger") as caught:
        bench.run(make_environment("tar", **limits))
    assert caught.value.exit_code == ExitCode.STORAGE_FULL
    assert spool.stat().st_size == most
    assert bench.files == []


@pytest.fixture
def volume(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What the volume says of itself: 1000 blocks of 1 KiB."""
    told = SimpleNamespace(f_blocks=1000, f_bavail=50, f_frsize=1024)
    monkeypatch.setattr(os, "statvfs", lambda _: told)
    return told


@pytest.mark.parametrize(
    ("reserve", "is_enough"),
    [("", True), ("5%", True), ("6%", False), ("51200", True), ("51201", False), ("100%", False)],
)
def test_nothing_begins_below_the_reserve(
    bench: Bench,
    make_environment: Environment,
    volume: SimpleNamespace,
    reserve: str,
    is_enough: bool,
) -> None:
    bench.says("echo x")
    values = make_environment(**{protocol.ENV_RESERVE: reserve})
    if is_enough:
        bench.run(values)
        return
    with pytest.raises(Failure, match=r"has 50.0 KiB free.*storage\.reserve") as caught:
        bench.run(values)
    assert caught.value.exit_code == ExitCode.STORAGE_RESERVED
    assert bench.files == []
    volume.f_bavail = 1000
    bench.run(values)


def test_what_killed_exports_left_makes_room_first(
    bench: Bench,
    make_environment: Environment,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench.says("echo x")
    abandoned = bench.exports / f".{make_environment()['EXPORT_FILE_NAME']}.partial"
    abandoned = abandoned.with_name(abandoned.name.replace("0b7c", "ffff"))
    abandoned.write_bytes(b"half")
    os.utime(abandoned, (0, 0))
    monkeypatch.setattr(
        os,
        "statvfs",
        lambda _: SimpleNamespace(
            f_blocks=1000, f_bavail=0 if abandoned.exists() else 1000, f_frsize=1024
        ),
    )
    bench.run(make_environment(**{protocol.ENV_RESERVE: "10%"}))


def test_a_file_system_that_tells_no_size_has_no_reserve(
    bench: Bench, make_environment: Environment, volume: SimpleNamespace
) -> None:
    volume.f_blocks = volume.f_bavail = 0
    bench.says("echo x")
    bench.run(make_environment(**{protocol.ENV_RESERVE: "5%"}))


@pytest.mark.parametrize(
    "values",
    [
        {protocol.ENV_MAX_BYTES: "1 GB"},
        {protocol.ENV_ROOM_BYTES: "-1"},
        {protocol.ENV_MAX_SPOOL_BYTES: "1e9"},
        {protocol.ENV_RESERVE: "5 %"},
        {protocol.ENV_RESERVE: "101%"},
    ],
)
def test_limits_that_make_no_sense_are_refused(values: dict[str, str]) -> None:
    with pytest.raises(Failure, match=next(iter(values))) as caught:
        Room.of(values)
    assert caught.value.exit_code == ExitCode.BAD_REQUEST
