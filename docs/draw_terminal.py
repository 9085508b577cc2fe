"""Draws docs/pictures/terminal-{light,dark}.svg: what a terminal shows of commands that really run.

    python docs/draw_terminal.py 'backupexport export proj-123 --download'

runs each command in a terminal of 80 columns, with the prompt before it, and draws the last screen.
The commands find their server as always, by the current context or BACKUPEXPORT_URL.
"""

import io
import shlex
import sys
from html import escape
from itertools import groupby
from pathlib import Path

from rich.color import Color
from rich.console import Console
from rich.style import Style
from rich.terminal_theme import TerminalTheme
from rich.text import Text
from terminal import Terminal

PICTURES = Path(__file__).parent / "pictures"
COLUMNS, LINES = 80, 40

# Background, text, the eight colours and the eight bright ones.
_THEMES = {
    "light": TerminalTheme(
        (255, 255, 255),
        (36, 41, 47),
        [
            (36, 41, 47), (207, 34, 46), (17, 99, 41), (123, 78, 0),
            (9, 105, 218), (130, 80, 223), (27, 124, 131), (87, 96, 106),
        ],
    ),
    "dark": TerminalTheme(
        (13, 17, 23),
        (230, 237, 243),
        [
            (110, 118, 129), (255, 123, 114), (63, 185, 80), (210, 153, 34),
            (88, 166, 255), (188, 140, 255), (57, 197, 207), (177, 186, 196),
        ],
    ),
}  # fmt: skip
# As rich makes it, but with no font that is fetched from elsewhere, and without a window's buttons.
_SVG = """<svg viewBox="0 29 {width} {height}" xmlns="http://www.w3.org/2000/svg" role="img">
<title>{{title}}</title>
<style>
.{unique_id}-matrix {{
    font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
    font-size: {char_height}px; line-height: {line_height}px;
}}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
<rect y="29" width="{width}" height="{height}" rx="6" fill="{{background}}"/>
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def main(commands: list[str]) -> None:
    """Run the commands one after the other, and draw what they show."""
    shown = Text()
    for command in commands:
        shown.append(f"$ {command}\n", style="bold")
        with Terminal(shlex.split(command), columns=COLUMNS, lines=LINES) as terminal:
            code = terminal.finish()
            if code:
                sys.exit(f"{command}: exit code {code}\n{terminal.text()}")
            shown.append_text(_screen(terminal))
    shown.rstrip()
    PICTURES.mkdir(exist_ok=True)
    for name, theme in _THEMES.items():
        console = Console(
            record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True,
            color_system="truecolor", legacy_windows=False,
        )  # fmt: skip
        console.print(shown, overflow="crop", no_wrap=True)
        svg = console.export_svg(title="", theme=theme, code_format=_SVG, unique_id=f"t-{name}")
        svg = svg.replace("{title}", escape("; ".join(commands)))
        svg = svg.replace("{background}", theme.background_color.hex)
        (PICTURES / f"terminal-{name}.svg").write_text(svg, encoding="utf-8")


def _screen(terminal: Terminal) -> Text:
    """Return what the terminal shows, with its colours."""
    text = Text()
    last = len(terminal.text().splitlines())
    for row in range(last):
        line = Text()
        cells = [terminal.screen.buffer[row][column] for column in range(COLUMNS)]
        for (colour, is_bold), alike in groupby(cells, lambda cell: (cell.fg, cell.bold)):
            line.append("".join(cell.data for cell in alike), _style(colour, is_bold=is_bold))
        line.rstrip()
        text.append_text(line).append("\n")
    return text


def _style(colour: str, *, is_bold: bool) -> Style:
    names = {"default": None, "brown": "yellow"}
    name = names.get(colour, colour)
    if name is None:
        return Style(bold=is_bold)
    is_hex = len(name) == 6 and all(digit in "0123456789abcdef" for digit in name)
    return Style(color=Color.parse(f"#{name}" if is_hex else name), bold=is_bold)


if __name__ == "__main__":
    main(sys.argv[1:])
