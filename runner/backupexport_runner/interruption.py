"""SIGTERM, as the working thread sees it.

The signal arrives in the main thread, which may not wait for the worker: that one can sit in
a name look-up or in fsync, where no Python code runs.  So the main thread kills pg_dump (the
worker then reads the end of the stream), and if the worker still doesn't come back, removes
the partial file itself.
"""

import contextlib
import subprocess
from collections.abc import Callable, Iterator

from backupexport_runner.failures import interrupted


class Interruption:
    """Whether the export has been asked to stop, and what must not outlive it."""

    def __init__(self) -> None:
        self.requested = False
        self._children: list[subprocess.Popen[bytes]] = []
        self._leftovers: list[Callable[[], None]] = []

    def request(self) -> None:
        """Ask the worker to stop; its child is killed."""
        self.requested = True
        for child in list(self._children):
            child.kill()

    def check(self) -> None:
        """Raise RunnerFailure where the export has been asked to stop."""
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

    @contextlib.contextmanager
    def discards(self, leftover: Callable[[], None]) -> Iterator[None]:
        """Within the context `leftover` is what `discard_leftovers` calls."""
        self._leftovers.append(leftover)
        try:
            yield
        finally:
            self._leftovers.remove(leftover)

    def discard_leftovers(self) -> None:
        """Remove what a worker that doesn't answer would leave behind."""
        for leftover in list(self._leftovers):
            with contextlib.suppress(OSError):
                leftover()
