"""Locks of the whole machine, so that two clones' commands take turns."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .progress import say


@contextmanager
def turn(path: Path, what: str) -> Iterator[None]:
    """Hold a lock, saying so when it has to be waited for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # The file stays: removing a locked file would give two holders one lock each.
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another {what} on this machine to finish")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
