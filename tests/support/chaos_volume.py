"""The exports' volume in a chaos run: a small file system of its own, filled up for a time."""

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

from chaos_faults import LastingBlow, Outcome
from chaos_schedule import Fault, Manner, Strike
from chaos_verdict import Outage

# All files of a run take less than half of it, so that it is full only when it is filled.
SIZE = "2g"
_FILLER = "filler"
_AGAIN_SECONDS = 0.5
# However long a busy node takes to start the pod that meets it.
_LONGEST_SECONDS = 180.0


class Filler:
    """Takes what room is free below `root`, which is a mounted file system of a fixed size.

    `felt` counts whoever has met a full volume.
    """

    def __init__(self, root: Path, felt: Callable[[], int]) -> None:
        self._root = root
        self._felt = felt
        self.full: list[Outage] = []

    @property
    def lasting(self) -> dict[Fault, LastingBlow]:
        """What is mended after a time."""
        return {Fault("volume", Manner.FILL): self._fill}

    def _fill(self, strike: Strike) -> Outcome:
        """Until it is felt, and at least for the strike's time."""
        began, felt = time.time(), self._felt()
        path = self._root / _FILLER
        self.full.append(Outage(began, float("inf")))
        try:
            with path.open("wb") as file:
                while (passed := time.time() - began) < _LONGEST_SECONDS:
                    if passed > strike.seconds and self._felt() > felt:
                        break
                    # Others make room meanwhile, and it is taken, too.
                    take_all(file.fileno(), self._root)
                    time.sleep(_AGAIN_SECONDS)
                taken = os.fstat(file.fileno()).st_size
        finally:
            path.unlink(missing_ok=True)
            # An attempt that met it reports that a moment later.
            self.full[-1] = Outage(began, time.time())
        return Outcome(f"{taken >> 20} MiB, for {time.time() - began:.0f} s", had_effect=True)


def take_all(file: int, root: Path) -> None:
    """Makes an open file as much larger as there is room in its file system."""
    found = os.statvfs(root)
    free = found.f_bavail * found.f_frsize
    # Somebody else may be faster.
    with contextlib.suppress(OSError):
        if free:
            os.posix_fallocate(file, os.fstat(file).st_size, free)
