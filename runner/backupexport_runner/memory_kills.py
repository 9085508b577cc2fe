"""How often the kernel has killed for memory in the container's cgroup."""

from pathlib import Path

# Version 2, then version 1, which nodes may still have.
# https://docs.kernel.org/admin-guide/cgroup-v2.html#memory-interface-files
# https://docs.kernel.org/admin-guide/cgroup-v1/memory.html#oom-control
_COUNTERS = ("memory.events", "memory/memory.oom_control")


def memory_kills(cgroup: Path) -> int:
    """`oom_kill` of the cgroup; 0 where it can't be read."""
    for name in _COUNTERS:
        try:
            lines = (cgroup / name).read_text(encoding="ascii").splitlines()
            return int(dict(line.split() for line in lines)["oom_kill"])
        except (OSError, ValueError, LookupError):
            continue
    return 0
