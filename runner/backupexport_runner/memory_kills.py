"""How often the kernel has killed for memory in the container's cgroup."""

from pathlib import Path


def memory_kills(cgroup: Path) -> int:
    """`oom_kill` of memory.events (cgroup v2); 0 where it can't be read.

    https://docs.kernel.org/admin-guide/cgroup-v2.html#memory-interface-files
    """
    try:
        lines = (cgroup / "memory.events").read_text(encoding="ascii").splitlines()
        counts = dict(line.split() for line in lines)
        return int(counts.get("oom_kill", 0))
    except (OSError, ValueError):
        return 0
