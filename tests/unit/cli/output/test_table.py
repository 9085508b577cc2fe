import pytest
from backupexport_cli.output.table import Column, table_lines


def _columns() -> list[Column]:
    return [
        Column("JOB", [("0b7c5a52", ""), ("aaaaaaaa", "")], 9),
        Column("PROJECT", [("a-project-with-a-long-name", ""), ("p", "")], 7, may_shrink=True),
        Column("STATUS", [("completed", "green"), ("failed", "red")], 8),
        Column("DONE", [("1.2 MiB", ""), ("-", "")], 5),
    ]


def _text(width: int) -> list[str]:
    lines = table_lines(_columns(), width)
    return ["".join(text for text, _ in line).rstrip() for line in lines]


def test_columns_stand_below_their_titles() -> None:
    title, first, second = _text(100)
    assert title.index("STATUS") == first.index("completed") == second.index("failed")


@pytest.mark.parametrize("width", [30, 40, 50, 60, 100])
def test_no_line_is_longer_than_the_terminal(width: int) -> None:
    assert max(map(len, _text(width))) <= width


def test_the_least_important_columns_go_first() -> None:
    assert "DONE" in _text(50)[0]
    title = _text(36)[0]
    assert "DONE" not in title
    assert "STATUS" in title


def test_what_was_cut_says_so() -> None:
    assert "…" in _text(40)[1]
    assert "…" not in _text(100)[1]
