"""Conditions, as RFC 9110 has them."""

from datetime import UTC, datetime

import pytest
from backupexport_api.downloads.preconditions import Validators, evaluate, range_counts
from hypothesis import given
from hypothesis import strategies as st

OURS = Validators('"ours"', datetime(2026, 1, 29, 15, 40, 12, tzinfo=UTC))
THEN, BEFORE, LATER = (
    "Thu, 29 Jan 2026 15:40:12 GMT",
    "Thu, 29 Jan 2026 15:40:11 GMT",
    "Thu, 29 Jan 2026 15:40:13 GMT",
)

VERDICTS: list[tuple[dict[str, str], str]] = [
    ({}, "send"),
    ({"if-match": '"ours"'}, "send"),
    ({"if-match": "*"}, "send"),
    ({"if-match": '"other", "ours"'}, "send"),
    ({"if-match": '"a,b" ,\t"ours",'}, "send"),
    ({"if-match": '"other"'}, "failed"),
    ({"if-match": 'W/"ours"'}, "failed"),
    ({"if-match": "ours"}, "failed"),
    ({"if-match": '"ours" "ours"'}, "failed"),
    ({"if-match": ""}, "failed"),
    ({"if-none-match": '"ours"'}, "not_modified"),
    ({"if-none-match": 'W/"ours"'}, "not_modified"),
    ({"if-none-match": '"other",W/"ours"'}, "not_modified"),
    ({"if-none-match": "*"}, "not_modified"),
    ({"if-none-match": '"other"'}, "send"),
    ({"if-none-match": "ours"}, "send"),
    ({"if-modified-since": THEN}, "not_modified"),
    ({"if-modified-since": LATER}, "not_modified"),
    ({"if-modified-since": BEFORE}, "send"),
    ({"if-modified-since": "yesterday"}, "send"),
    ({"if-unmodified-since": THEN}, "send"),
    ({"if-unmodified-since": BEFORE}, "failed"),
    ({"if-unmodified-since": "yesterday"}, "send"),
    # The older formats, which a receiver has to know.
    ({"if-unmodified-since": "Thursday, 29-Jan-26 15:40:11 GMT"}, "failed"),
    ({"if-unmodified-since": "Thu Jan 29 15:40:11 2026"}, "failed"),
    # A tag outdoes a date.
    ({"if-match": '"ours"', "if-unmodified-since": BEFORE}, "send"),
    ({"if-none-match": '"other"', "if-modified-since": THEN}, "send"),
    ({"if-match": '"other"', "if-none-match": '"ours"'}, "failed"),
]


@pytest.mark.parametrize(("headers", "expected"), VERDICTS, ids=str)
def test_verdicts(headers: dict[str, str], expected: str) -> None:
    assert evaluate(headers, OURS) == expected


@pytest.mark.parametrize(
    ("if_range", "counts"),
    [
        (None, True),
        ('"ours"', True),
        ('  "ours"\t', True),
        (THEN, True),
        ('W/"ours"', False),
        ('"other"', False),
        ("*", False),
        ('"ours", "other"', False),
        (LATER, False),
        (BEFORE, False),
        ("", False),
    ],
)
def test_if_range(if_range: str | None, counts: bool) -> None:
    assert range_counts(if_range, OURS) is counts


@given(st.text() | st.text(alphabet='"W/,* o\t'))
def test_no_text_breaks_it(text: str) -> None:
    for name in ("if-match", "if-none-match", "if-modified-since", "if-unmodified-since"):
        evaluate({name: text}, OURS)
    range_counts(text, OURS)
