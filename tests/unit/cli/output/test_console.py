import io
import json
import os
import pty
import re
import termios

import pytest
from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.output.bar import NoBar
from backupexport_cli.output.console import Output
from cli_jobs import HOSTILE, is_harmless


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _output(
    terminal: bool = False, is_json: bool = False, quiet: bool = False, **environment: str
) -> tuple[Output, io.StringIO, io.StringIO]:
    out, err = (Terminal() if terminal else io.StringIO() for _ in range(2))
    output = Output(is_json=is_json, quiet=quiet, out=out, err=err, environment=environment)
    return output, out, err


def test_answers_and_words_go_apart() -> None:
    output, out, err = _output()
    output.print("answer")
    output.say("word")
    assert (out.getvalue(), err.getvalue()) == ("answer\n", "word\n")


def test_quiet_keeps_the_answer_the_cautions_and_the_error() -> None:
    output, out, err = _output(quiet=True)
    output.print("answer")
    output.say("word")
    output.warn("caution")
    output.error(CliError(ExitCode.FAILED, "bad"))
    assert out.getvalue() == "answer\n"
    assert err.getvalue() == "Caution: caution\nError: bad\n"


@pytest.mark.parametrize(
    ("terminal", "environment", "colored"),
    [
        (True, {}, True),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"NO_COLOR": ""}, True),
        (True, {"TERM": "dumb"}, False),
        (False, {}, False),
    ],
)
def test_colors_are_for_terminals_that_want_them(
    terminal: bool, environment: dict[str, str], colored: bool
) -> None:
    output, out, err = _output(terminal, False, False, **environment)
    output.print_line(("completed", "green"))
    output.error(CliError(ExitCode.FAILED, "bad"))
    assert ("\x1b[" in out.getvalue()) is colored
    assert ("\x1b[" in err.getvalue()) is colored


@pytest.mark.parametrize(
    ("terminal", "quiet", "term", "shown"),
    [
        (True, False, "xterm", True),
        (False, False, "xterm", False),
        (True, True, "xterm", False),
        (True, False, "dumb", False),
    ],
)
def test_a_bar_is_for_terminals(terminal: bool, quiet: bool, term: str, shown: bool) -> None:
    output, _, err = _output(terminal, quiet=quiet, TERM=term)
    with output.bar("file") as bar:
        bar.update(1, 2)
    assert isinstance(bar, NoBar) is not shown
    assert bool(err.getvalue()) is shown


def test_nothing_hostile_is_written_whichever_way_it_goes() -> None:
    output, out, err = _output()
    output.print(HOSTILE)
    output.print_line((HOSTILE, "red"))
    output.document({"text": HOSTILE})
    output.event({"text": HOSTILE})
    output.say(HOSTILE)
    output.warn(HOSTILE)
    output.error(CliError(ExitCode.FAILED, HOSTILE, HOSTILE))
    assert is_harmless(out.getvalue())
    assert is_harmless(err.getvalue())


def test_json_is_read_back_as_it_was() -> None:
    output, out, _ = _output(is_json=True)
    output.event({"text": HOSTILE})
    output.document([1, HOSTILE])
    first, _, rest = out.getvalue().partition("\n")
    assert json.loads(first) == {"text": HOSTILE}
    assert json.loads(rest) == [1, HOSTILE]


def test_an_error_for_a_program_is_json() -> None:
    output, out, err = _output(is_json=True)
    output.error(CliError(ExitCode.NOT_FOUND, "No such job.", "List them.", code="job_not_found"))
    assert out.getvalue() == ""
    assert json.loads(err.getvalue()) == {
        "error": {
            "message": "No such job.",
            "advice": "List them.",
            "exit_code": 4,
            "code": "job_not_found",
        }
    }


def test_redrawing_goes_back_over_what_it_wrote() -> None:
    output, out, _ = _output(True, NO_COLOR="1")
    output.redraw([[("a", "")], [("b", "")]], instead_of=0)
    output.redraw([[("c", "")]], instead_of=2)
    assert out.getvalue() == "a\nb\n\x1b[2A\x1b[Jc\n"


def test_what_must_be_told_is_told_by_a_quiet_command_too() -> None:
    output, _, err = _output(quiet=True)
    output.say("The export goes on.", always=True)
    assert err.getvalue() == "The export goes on.\n"


def test_an_answer_in_a_file_is_as_wide_as_it_must_be() -> None:
    # Whatever the terminal of what is said about it.
    output = Output(out=io.StringIO(), err=Terminal(), environment={})
    assert output.is_terminal
    assert output.width == 200


def test_a_bar_is_as_wide_as_the_terminal_that_shows_it() -> None:
    terminal, side = pty.openpty()
    try:
        termios.tcsetwinsize(side, (20, 40))
        with open(side, "w", closefd=False) as err:
            output = Output(out=io.StringIO(), err=err, environment={})
            with output.bar("x" * 8) as bar:
                bar.update(10, 100, percent=10, note="a note that is much longer than a terminal")
        shown = os.read(terminal, 4096).decode()
    finally:
        os.close(side)
        os.close(terminal)
    assert max(map(len, re.split(r"\r|\n|\x1b\[\w+", shown))) <= 40
