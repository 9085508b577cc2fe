"""What the container's cgroup says: its CPUs, and how often the kernel killed for memory."""

import math
import os
from pathlib import Path

# Each thread of zstd takes some 16 MB, and four are faster than any pg_dump.
_MOST_THREADS = 4

# Version 2, then version 1, which nodes may still have.
# https://docs.kernel.org/admin-guide/cgroup-v2.html#memory-interface-files
# https://docs.kernel.org/admin-guide/cgroup-v1/memory.html#oom-control
_COUNTERS = ("memory.events", "memory/memory.oom_control")


def thread_count(cgroup: Path) -> int:
    """Returns how many threads can run at once: the cores, or the container's limit if lower."""
    cores = len(os.sched_getaffinity(0))
    return max(1, min(cores, _cpu_limit(cgroup) or cores, _MOST_THREADS))


def _cpu_limit(cgroup: Path) -> int | None:
    # In CPUs: https://docs.kernel.org/admin-guide/cgroup-v2.html#cpu-interface-files
    try:
        quota, period = (cgroup / "cpu.max").read_text(encoding="ascii").split()
        return math.ceil(int(quota) / int(period))
    except (OSError, ValueError, ZeroDivisionError):
        return None


def memory_kills(cgroup: Path) -> int:
    """Returns `oom_kill` of the cgroup, 0 if it can't be read."""
    for name in _COUNTERS:
        try:
            lines = (cgroup / name).read_text(encoding="ascii").splitlines()
            return int(dict(line.split() for line in lines)["oom_kill"])
        except (OSError, ValueError, LookupError):
            continue
    return 0
