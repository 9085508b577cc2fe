"""The one place that writes: answers to stdout, words about them to stderr."""

import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.output.bar import Bar, NoBar, TerminalBar
from backupexport_cli.output.clean import clean, clean_lines
from backupexport_cli.output.folding import folded

_STYLES = {"red": "31", "green": "32", "yellow": "33", "blue": "34", "bold": "1", "dim": "2"}
_NARROWEST, _WIDE = 20, 200


class Output:
    """Writes for a person on a terminal, for a program, or into a file."""

    def __init__(
        self,
        *,
        is_json: bool = False,
        quiet: bool = False,
        out: TextIO | None = None,
        err: TextIO | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Streams and environment are the process's own unless given."""
        self.is_json = is_json
        self.quiet = quiet
        self._out = out or sys.stdout
        self._err = err or sys.stderr
        self._has_events = False
        environment = os.environ if environment is None else environment
        is_dumb = environment.get("TERM") == "dumb"
        self.is_terminal = self._err.isatty() and not is_dumb
        """Whether a person sees what goes to stderr while it is written."""
        self.stdout_is_terminal = self._out.isatty() and not is_dumb
        self._has_colors = self.stdout_is_terminal and not environment.get("NO_COLOR")
        self._err_has_colors = self.is_terminal and not environment.get("NO_COLOR")

    @property
    def width(self) -> int:
        """How many columns an answer may have; many where no terminal shows it."""
        if not self.stdout_is_terminal:
            return _WIDE
        return max(_NARROWEST, shutil.get_terminal_size().columns)

    @property
    def height(self) -> int:
        """How many lines the terminal has."""
        return shutil.get_terminal_size().lines

    def document(self, value: Any) -> None:
        """Write the JSON document of a command; in one line where it comes after events."""
        if self._has_events:
            self.event(value)
            return
        # ASCII alone: nothing in it is more than text to a terminal.
        self._write(json.dumps(value, indent=2, ensure_ascii=True))

    def event(self, value: Any) -> None:
        """Write one JSON document in one line."""
        self._has_events = True
        self._write(json.dumps(value, ensure_ascii=True, separators=(",", ":")))

    def print(self, text: str) -> None:
        """Write an answer, of one line or of several."""
        self._write(clean_lines(text, most=20_000))

    def print_line(self, *pieces: tuple[str, str]) -> None:
        """Write one line of pieces, each a text and its style (empty: none)."""
        self._write("".join(self._painted(text, style) for text, style in pieces).rstrip())

    def redraw(self, lines: Sequence[Sequence[tuple[str, str]]], *, instead_of: int) -> None:
        """Write lines in the place of the `instead_of` lines that were written last."""
        if instead_of:
            self._out.write(f"\x1b[{instead_of}A\x1b[J")
        for line in lines:
            self.print_line(*line)

    def say(self, text: str, *, always: bool = False) -> None:
        """Tell what was done, or what comes next; with --quiet, only what must be told `always`."""
        if always or not self.quiet:
            self._tell(clean_lines(text))

    def warn(self, text: str) -> None:
        """Tell what nobody should miss."""
        self._tell(clean_lines(text), "Caution:", "yellow")

    def trace(self, text: str) -> None:
        """Tell a request, or what else only --verbose has."""
        self._write_words(self._err_painted(clean_lines(text), "dim"))

    def error(self, error: CliError) -> None:
        """Tell why the command ends."""
        if self.is_json:
            told = {"message": clean(error.message), "advice": clean(error.advice)}
            told |= {"code": clean(error.code)} if error.code else {}
            self._write_words(json.dumps({"error": told | {"exit_code": int(error.exit_code)}}))
            return
        advice = f"\n{clean_lines(error.advice)}" if error.advice else ""
        self._tell(f"{clean_lines(error.message)}{advice}", "Error:", "red")

    @contextmanager
    def bar(self, label: str) -> Iterator[Bar]:
        """Yield a bar that is shown on a terminal and nowhere else."""
        if self.quiet or not self.is_terminal:
            yield NoBar()
            return
        bar = TerminalBar(self._err, label, self._width_of_words())
        try:
            yield bar
        finally:
            bar.close()

    def _width_of_words(self) -> int:
        """Return how many columns the terminal of stderr has: stdout may lead elsewhere."""
        try:
            return max(_NARROWEST, os.get_terminal_size(self._err.fileno()).columns)
        except (OSError, ValueError):
            return max(_NARROWEST, shutil.get_terminal_size().columns)

    def _painted(self, text: str, style: str) -> str:
        return _painted(clean(text), style if self._has_colors else "")

    def _err_painted(self, text: str, style: str) -> str:
        return _painted(text, style if self._err_has_colors else "")

    def _write(self, text: str) -> None:
        try:
            self._out.write(text + "\n")
            self._out.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            # What Python flushes at its end must not fail again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._out.fileno())
            raise CliError(
                ExitCode.FAILED,
                f"Standard output can't be written: {(error.strerror or 'unknown').lower()}.",
                "Send it to another place, or free some space there.",
            ) from None

    def _tell(self, text: str, what: str = "", style: str = "") -> None:
        """Write words for a person, after one that says what they are."""
        words = f"{what} {text}" if what else text
        if self.is_terminal:
            words = folded(words, self._width_of_words())
        self._write_words(self._err_painted(what, style) + words.removeprefix(what))

    def _write_words(self, text: str) -> None:
        self._err.write(text + "\n")
        self._err.flush()


def _painted(text: str, style: str) -> str:
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if style else text
