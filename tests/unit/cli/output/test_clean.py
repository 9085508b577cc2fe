import pytest
from backupexport_cli.output.clean import clean, clean_lines
from cli_jobs import HOSTILE, is_harmless
from hypothesis import given
from hypothesis import strategies as st


def test_what_a_terminal_only_shows_stays_as_it_is() -> None:
    assert clean("Größe: 3 €, 表 and <tags>") == "Größe: 3 €, 表 and <tags>"


@pytest.mark.parametrize("end", ["\n", "\r", "\t", "\r\n"])
def test_one_line_stays_one_line(end: str) -> None:
    assert clean(f"a{end}b").split() == ["a", "b"]


def test_nothing_of_a_hostile_text_reaches_a_terminal() -> None:
    assert is_harmless(clean(HOSTILE))


@given(st.text(max_size=50) | st.characters())
def test_no_text_is_more_than_text(text: str) -> None:
    assert clean(text).isprintable()
    assert is_harmless(clean_lines(text))


def test_a_long_text_is_cut_and_says_so() -> None:
    assert clean("x" * 11, most=10) == "x" * 9 + "…"
    assert clean("x" * 10, most=10) == "x" * 10


def test_lines_are_bounded_too() -> None:
    assert clean_lines("a\nb\x1b[1m") == "a\nb�[1m"
    assert clean_lines("\n" * 100_000).count("\n") < 1000
