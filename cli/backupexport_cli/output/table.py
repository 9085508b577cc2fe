"""Tables that are legible at any width; pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from backupexport_cli.output.clean import clean

_GAP = 2
_NARROWEST = 10

Line = list[tuple[str, str]]
"""Pieces of a line: a text and its style."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its title, and for each row a text and its style."""

    title: str
    cells: Sequence[tuple[str, str]]
    importance: int
    """The least important columns go first where there is not enough room."""
    may_shrink: bool = False

    @property
    def width(self) -> int:
        """What its longest text needs."""
        return max(len(text) for text in (self.title, *(text for text, _ in self.cells)))


def table_lines(columns: Sequence[Column], width: int) -> list[Line]:
    """Return the title and the rows."""
    shown = [
        replace(each, cells=[(clean(text), style) for text, style in each.cells])
        for each in columns
    ]
    while len(shown) > 1 and _least(shown) > width:
        shown.remove(min(shown, key=lambda column: column.importance))
    widths = [column.width for column in shown]
    excess = sum(widths) + _GAP * (len(shown) - 1) - width
    for index, column in enumerate(shown):
        if excess > 0 and column.may_shrink:
            cut = min(excess, max(0, widths[index] - _NARROWEST))
            widths[index] -= cut
            excess -= cut
    lines: list[Line] = [[(column.title, "bold") for column in shown]]
    lines += [list(row) for row in zip(*(column.cells for column in shown), strict=True)]
    return [_padded(line, widths) for line in lines]


def _least(columns: Sequence[Column]) -> int:
    widths = (min(each.width, _NARROWEST) if each.may_shrink else each.width for each in columns)
    return sum(widths) + _GAP * (len(columns) - 1)


def _padded(line: Line, widths: Sequence[int]) -> Line:
    padded: Line = []
    for (text, style), width in zip(line, widths, strict=True):
        cut = text if len(text) <= width else text[: width - 1] + "…"
        padded += [(cut, style), (" " * (width - len(cut) + _GAP), "")]
    return padded
