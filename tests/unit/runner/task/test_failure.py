"""Foreign words in the runner's sentences."""

import pytest
from backupexport_runner.task.failure import one_line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\r\nBcc: x\x00y", "a Bcc: x y"),
        ("a\u202eb\u2028c\ud800d\u200be", "a b c d e"),
        ("x" * 100, "x" * 100),
        ("  Zoë 日本\t", "Zoë 日本"),
        ("x" * 101, "x" * 99 + "…"),
    ],
)
def test_foreign_words_become_one_line(text: str, line: str) -> None:
    assert one_line(text, 100) == line
