import io

import pytest
from backupexport_cli.output.bar import TerminalBar, bar_line, seconds_to_go
from cli_jobs import HOSTILE


def _line(width: int, **changes: object) -> str:
    given = {"done": 400, "total": 1000, "percent": None, "seconds_left": 75.0} | changes
    return bar_line("0b7c5a52", width, **given)  # type: ignore[arg-type]


def test_a_wide_terminal_shows_all_there_is() -> None:
    line = _line(100, note="running")
    assert line.startswith("0b7c5a52  running  ████████████░░░░")
    assert line.endswith(" 40 %  400 B of 1000 B  1 min 15 s left")


@pytest.mark.parametrize("width", range(1, 130))
def test_no_line_is_longer_than_the_terminal(width: int) -> None:
    assert len(_line(width)) <= width


def test_forty_columns_have_the_share_and_the_time_left() -> None:
    line = _line(39, done=420_000_000, total=1_000_000_000)
    assert "42 %" in line
    assert "left" in line


def test_bytes_of_no_known_end_are_counted_all_the_same() -> None:
    assert _line(80, total=None, seconds_left=None) == "0b7c5a52  400 B"


@pytest.mark.parametrize(
    ("spent", "done", "left", "seconds"),
    [
        (10.0, 100, 50, 5.0),
        (10.0, 100, 0, None),
        (10.0, 100, -1, None),
        # Too soon, or nothing to go by.
        (0.5, 100, 50, None),
        (10.0, 0, 50, None),
        (10.0, -5, 50, None),
    ],
)
def test_the_time_left_goes_by_the_speed_of_so_far(
    spent: float, done: int, left: int, seconds: float | None
) -> None:
    assert seconds_to_go(spent, done, left) == seconds


def test_what_was_there_before_does_not_count_as_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    stream = io.StringIO()
    bar = TerminalBar(stream, "0b7c5a52", 100)
    bar.update(900_000, 1_000_000)
    now[0] = 10.0
    bar.update(950_000, 1_000_000)
    assert "10 s left" in stream.getvalue()


@pytest.mark.parametrize("percent", [-5, 0, 100, 10**9])
def test_a_share_is_never_more_than_all(percent: int) -> None:
    line = _line(80, percent=percent)
    assert " 100 %" in line if percent >= 100 else "  0 %" in line


def test_the_newest_state_is_left_on_the_terminal() -> None:
    stream = io.StringIO()
    bar = TerminalBar(stream, "file", 80)
    for done in range(1000):
        bar.update(done, 999)
    bar.close()
    assert stream.getvalue().endswith("999 B of 999 B\x1b[K\n")
    # Drawn ten times a second at most.
    assert stream.getvalue().count("\r") < 100


def test_a_hostile_label_or_note_is_only_text() -> None:
    stream = io.StringIO()
    bar = TerminalBar(stream, HOSTILE, 200)
    bar.update(1, 2, note=HOSTILE)
    bar.close()
    shown = stream.getvalue().replace("\r", "").replace("\x1b[K\n", "")
    assert shown.replace("\x1b[K", "").isprintable()
