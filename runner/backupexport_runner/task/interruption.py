"""SIGTERM, as the working thread sees it, and what an attempt has left on the volume.

The signal arrives in the main thread, which may not wait for the worker: that one can sit in
a name look-up or in fsync, where no Python code runs.  So the main thread kills pg_dump (the
worker then reads the end of the stream), and if the worker still doesn't come back, takes the
volume away from it and removes the partial file itself.
"""

import contextlib
import subprocess
import threading
from collections.abc import Iterator
from typing import Protocol

from backupexport_runner.task.failure import interrupted

_SECONDS_TO_TAKE_OVER = 0.25


class Leftover(Protocol):
    """What must not outlive an attempt that fails."""

    @property
    def is_gone(self) -> bool:
        """Whether nothing of it can be on the volume, now or after a crash of the node."""
        ...

    def discard(self) -> None:
        """Try to make it so."""
        ...


class Interruption:
    """Whether the export has been asked to stop, and what must not outlive it."""

    def __init__(self) -> None:
        self.requested = False
        self._children: list[subprocess.Popen[bytes]] = []
        self._leftovers: list[Leftover] = []
        self._volume = threading.RLock()
        self._is_whole = False

    def request(self) -> None:
        """Ask the worker to stop; its child is killed."""
        self.requested = True
        for child in list(self._children):
            child.kill()

    def check(self) -> None:
        """Raise Failure where the export has been asked to stop."""
        if self.requested:
            raise interrupted()

    @contextlib.contextmanager
    def kills(self, child: subprocess.Popen[bytes]) -> Iterator[None]:
        """Within the context `child` dies with the request, also one that came just before."""
        self._children.append(child)
        try:
            if self.requested:
                child.kill()
            yield
        finally:
            self._children.remove(child)

    def watch(self, leftover: Leftover) -> None:
        """Count `leftover` among what the attempt may leave; to be said before it is made."""
        self._leftovers.append(leftover)

    def changing(self) -> contextlib.AbstractContextManager[object]:
        """The context in which names on the volume change; after `abandon` it never begins."""
        return self._volume

    def keep(self) -> None:
        """Say that what is watched is whole under its final names, and to stay."""
        self._is_whole = True

    def abandon(self) -> None:
        """Remove what a worker that doesn't answer would leave behind.

        The worker can't change the volume any more: it may come back at any moment until the
        process ends, and would make what has just been removed.  Where it sits in a change
        itself, nobody can know how that ends, and nothing is done.
        """
        # Never released.
        if not self._volume.acquire(timeout=_SECONDS_TO_TAKE_OVER) or self._is_whole:
            return
        for leftover in reversed(self._leftovers):
            leftover.discard()

    @property
    def is_anything_left(self) -> bool:
        """Whether something of the attempt is on the volume, or may be."""
        return not all(leftover.is_gone for leftover in self._leftovers)
