"""A process of this machine and those that it has started, as /proc shows them."""

import os
from contextlib import suppress
from pathlib import Path


def descendants(pid: int) -> list[int]:
    """Its children, theirs, and so on."""
    found: list[int] = []
    # It may end at any moment.
    with suppress(FileNotFoundError):
        for file in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in map(int, _text(file).split()):
                found += [child, *descendants(child)]
    return found


def resident_bytes(pid: int) -> int:
    """What a process has in memory, 0 where it is gone."""
    pages = _text(Path(f"/proc/{pid}/statm")).split()
    return int(pages[1]) * os.sysconf("SC_PAGE_SIZE") if pages else 0


def is_alive(pid: int) -> bool:
    """Whether it is there and is more than a zombie."""
    state = _text(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    return bool(state) and state[0] not in "ZX"


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
