"""Who runs on which processor, and how much memory it has."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def processors() -> tuple[int, int]:
    """One processor for whoever is measured and one for whoever measures."""
    ours = sorted(os.sched_getaffinity(0))
    return ours[0], ours[-1]


@contextmanager
def pinned(processor: int) -> Iterator[None]:
    """Keep to one processor, with all processes that are started meanwhile."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {processor})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def memory(pid: int) -> tuple[float, float]:
    """MiB that a process has in memory, now and at most so far."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    lines = dict(line.split(":", 1) for line in status.splitlines())
    return int(lines["VmRSS"].split()[0]) / 1024, int(lines["VmHWM"].split()[0]) / 1024


def cpu_seconds(pid: int) -> float:
    """The processor time that a process has used so far."""
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    user, system = stat.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def idle_seconds(processor: int) -> float:
    """How long a processor has had nothing to do so far; the kernel's own work is no idling."""
    lines = Path("/proc/stat").read_text(encoding="ascii").splitlines()
    [line] = [line for line in lines if line.startswith(f"cpu{processor} ")]
    idle, waiting = line.split()[4:6]
    return (int(idle) + int(waiting)) / os.sysconf("SC_CLK_TCK")
