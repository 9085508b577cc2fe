"""The clock by which attempts tell who was first."""

import time


def seconds_now() -> float:
    """Returns the time of a clock that nobody sets, and that goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
