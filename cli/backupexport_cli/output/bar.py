"""One line that shows how far something has come: what stands in it, and who draws it."""

import time
from typing import Protocol, TextIO

from backupexport_contract.readable import readable_duration, readable_size

from backupexport_cli.output.clean import clean

_LEAST_SECONDS_BETWEEN = 0.1
_LEAST_SECONDS_OF_A_SPEED = 1.0
_WIDEST_BAR = 30
_NARROWEST_BAR = 8


class Bar(Protocol):
    """What tells of progress."""

    def update(
        self,
        done: int,
        total: int | None = None,
        *,
        percent: int | None = None,
        seconds_left: float | None = None,
        note: str = "",
    ) -> None:
        """Show that `done` bytes of `total` are done, and a word of why.

        `percent` follows from the bytes unless it is given.
        """


class NoBar:
    """Shows nothing: where there is no terminal."""

    def update(
        self,
        done: int,
        total: int | None = None,
        *,
        percent: int | None = None,
        seconds_left: float | None = None,
        note: str = "",
    ) -> None:
        """Do nothing."""


class TerminalBar:
    """Draws over its own line of a terminal."""

    def __init__(self, stream: TextIO, label: str, width: int) -> None:
        """`width` is the terminal's, in columns."""
        self._stream = stream
        self._label = clean(label)
        self._width = width
        self._drawn_at = float("-inf")
        self._newest: str | None = None
        self._began: tuple[float, int] | None = None

    def update(
        self,
        done: int,
        total: int | None = None,
        *,
        percent: int | None = None,
        seconds_left: float | None = None,
        note: str = "",
    ) -> None:
        """Draw the bar, unless it was drawn just now."""
        now = time.monotonic()
        if seconds_left is None and total is not None:
            # What was there before says nothing of the speed, nor does a wait for its turn.
            self._began = self._began or (now, done)
            began_at, before = self._began
            seconds_left = seconds_to_go(now - began_at, done - before, total - done)
        self._newest = bar_line(
            self._label,
            self._width - 1,
            done=done,
            total=total,
            percent=percent,
            seconds_left=seconds_left,
            note=clean(note, 60),
        )
        if now - self._drawn_at >= _LEAST_SECONDS_BETWEEN:
            self._draw()

    def close(self) -> None:
        """Leave the newest state on the terminal, and go to the next line."""
        if self._newest is not None:
            self._draw()
            self._stream.write("\n")
            self._stream.flush()

    def _draw(self) -> None:
        self._drawn_at = time.monotonic()
        self._stream.write(f"\r{self._newest}\x1b[K")
        self._stream.flush()


def seconds_to_go(spent: float, done: int, left: int) -> float | None:
    """Return how long `left` bytes take at the speed of so far; None where nobody can tell yet.

    `spent` is in seconds.  It is None, too, where nothing is left.
    """
    if spent < _LEAST_SECONDS_OF_A_SPEED or done <= 0 or left <= 0:
        return None
    return left * spent / done


def bar_line(
    label: str,
    width: int,
    *,
    done: int,
    total: int | None,
    percent: int | None,
    seconds_left: float | None,
    note: str = "",
) -> str:
    """Return the line; what matters least is left out where it has not enough columns."""
    if percent is None and total:
        percent = done * 100 // total
    if percent is not None:
        percent = min(max(percent, 0), 100)
    share = "" if percent is None else f"{percent:3d} %"
    sizes = readable_size(max(done, 0))
    both = f"{sizes} of {readable_size(total)}" if total else sizes
    left = "" if seconds_left is None else f"{readable_duration(seconds_left)} left"
    choices = (
        (label, note, share, both, left),
        (label, note, share, sizes, left),
        (note, share, sizes, left),
        (share, sizes, left),
        (share, left) if left else (share, sizes),
        (share or sizes,),
    )
    for parts in choices:
        texts = [text for text in parts if text]
        rest = width - len("  ".join(texts))
        room = min(_WIDEST_BAR, rest - 2)
        if percent is not None and room >= _NARROWEST_BAR:
            filled = room * percent // 100
            texts.insert(texts.index(share), "█" * filled + "░" * (room - filled))
        elif rest < 0:
            continue
        return "  ".join(texts)
    return (share or sizes)[:width]
