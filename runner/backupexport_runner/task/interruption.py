"""SIGTERM, as the working thread sees it, and what an attempt has left on the volume.

The signal arrives in the main thread, which must not wait for the worker: the worker can be in a
name look-up or in fsync, where no Python code runs.  So the main thread kills pg_dump, and the
worker then reads the end of the stream.  If the worker still doesn't answer, the main thread
forbids it to change the volume and removes the partial files itself.
"""

import contextlib
import subprocess
import threading
from collections.abc import Callable, Iterator

from backupexport_runner.task.failure import interrupted

_SECONDS_TO_TAKE_OVER = 0.25


class Interruption:
    """Whether the task has been asked to stop, and what it may leave on the volume."""

    def __init__(self) -> None:
        self.requested = False
        self._children: list[subprocess.Popen[bytes]] = []
        self._leftovers: list[tuple[Callable[[], None], Callable[[], bool]]] = []
        # Held while a name on the volume changes; `abandon` takes it for good.
        self.changing = threading.RLock()
        self._is_whole = False

    def request(self) -> None:
        """Asks the worker to stop, and kills its child processes."""
        self.requested = True
        for child in list(self._children):
            child.kill()

    def check(self) -> None:
        """Raises Failure(INTERRUPTED) if the task has been asked to stop."""
        if self.requested:
            raise interrupted()

    @contextlib.contextmanager
    def kills(self, child: subprocess.Popen[bytes]) -> Iterator[None]:
        """Within the context, a request to stop kills `child`, also a request made just before."""
        self._children.append(child)
        try:
            if self.requested:
                child.kill()
            yield
        finally:
            self._children.remove(child)

    def watch(self, discard: Callable[[], None], is_gone: Callable[[], bool]) -> None:
        """Registers a file that a failed attempt must remove; call it before the file is made.

        `is_gone` tells whether the volume has nothing of it, also after a crash of the node.
        """
        self._leftovers.append((discard, is_gone))

    def keep(self) -> None:
        """Marks the registered files as complete: they stay from now on."""
        self._is_whole = True

    def abandon(self) -> None:
        """Removes the files of a worker that doesn't answer, and keeps the lock.

        For the worker may go on at any moment, and must not make again what has just been removed.
        If it holds the lock, it is in the middle of a change, which may still succeed.
        """
        if not self.changing.acquire(timeout=_SECONDS_TO_TAKE_OVER) or self._is_whole:
            return
        for discard, _ in reversed(self._leftovers):
            discard()

    @property
    def is_anything_left(self) -> bool:
        """Whether the volume has something of the attempt, or may have."""
        return not all(is_gone() for _, is_gone in self._leftovers)
