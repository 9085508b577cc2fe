"""What `make bench-dump` reads in the logs of its exports."""

import json
from datetime import UTC, datetime
from typing import Any

import bench_dump
import pytest
from measures import MeasurementError

PROGRAM = "/usr/lib/postgresql/17/bin/pg_dump"


def _line(second: int, event: str, **fields: Any) -> str:
    return json.dumps({"time": f"2026-01-01T00:00:{second:02}.500Z", "event": event, **fields})


STARTED = _line(1, "dump_started", program=PROGRAM, format="sql")
PROGRESS = _line(2, "progress", dumped_bytes=1)
FINISHED = _line(4, "dump_finished", exit_status=0)
STORED = _line(5, "completed", path="p", size_bytes=1)


def test_the_log_tells_the_program_and_its_times() -> None:
    dumped = bench_dump.read_log(f"{STARTED}\n{PROGRESS}\n{FINISHED}\n{STORED}")

    began = datetime(2026, 1, 1, 0, 0, 1, 500_000, UTC).timestamp()
    assert dumped == bench_dump.Dumped(PROGRAM, began, began + 3, began + 4)


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [STARTED],
        [FINISHED],
        [STARTED, FINISHED, STARTED, FINISHED],
        [STARTED, _line(4, "dump_finished", exit_status=1)],
    ],
)
def test_anything_but_one_good_dump_ends_the_run(lines: list[str]) -> None:
    with pytest.raises(MeasurementError, match="dumps began"):
        bench_dump.read_log("\n".join(lines))


def test_a_dump_whose_file_was_not_stored_ends_the_run() -> None:
    with pytest.raises(MeasurementError, match="no file was stored"):
        bench_dump.read_log(f"{STARTED}\n{FINISHED}")
