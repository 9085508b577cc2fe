"""What the container's cgroup says."""

from pathlib import Path

import pytest
from backupexport_runner.export.cgroup import memory_kills, thread_count


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
