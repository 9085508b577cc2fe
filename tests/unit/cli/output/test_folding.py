"""What a person reads is broken between words, and what is copied is not broken."""

import pytest
from backupexport_cli.output.folding import folded


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", [""]),
        ("Short.", ["Short."]),
        (
            "The token was refused: it is malformed.",
            ["The token was", "refused: it is", "malformed."],
        ),
        ("One line.\nAnother one.", ["One line.", "Another one."]),
        # Commands are typed again as they stand.
        ("Log in: backupexport login", ["Log in:", "backupexport login"]),
        (
            "See one: backupexport --kube job 0b7c2d7e",
            ["See one:", "backupexport --kube job 0b7c2d7e"],
        ),
        ("Log in with `backupexport login URL`.", ["Log in with", "`backupexport login URL`."]),
        ("That is no backupexport server.", ["That is no", "backupexport", "server."]),
        (
            "/a/path/that/is/longer/than/that is there",
            ["/a/path/that/is/longer/than/that", "is there"],
        ),
        ("not-broken-at-hyphens", ["not-broken-at-hyphens"]),
    ],
)
def test_lines_end_between_words(text: str, lines: list[str]) -> None:
    assert folded(text, 18) == "\n".join(lines)


@pytest.mark.parametrize("width", range(1, 60))
def test_nothing_is_lost(width: int) -> None:
    text = "The file is there already, and whole. Check it: backupexport check FILE --job ID"
    assert folded(text, width).replace("\n", " ") == text
