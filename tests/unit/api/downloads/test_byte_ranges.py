"""Range, as RFC 9110 has it."""

import pytest
from backupexport_api.downloads.byte_ranges import (
    MOST_RANGES,
    ByteRange,
    UnsatisfiableError,
    requested,
)
from hypothesis import given
from hypothesis import strategies as st

SIZE = 1000

RANGES: dict[str, list[tuple[int, int]]] = {
    "bytes=0-0": [(0, 1)],
    "bytes=0-499": [(0, 500)],
    "bytes=500-999": [(500, 1000)],
    "bytes=500-": [(500, 1000)],
    "bytes=999-": [(999, 1000)],
    "bytes=-500": [(500, 1000)],
    "bytes=-1": [(999, 1000)],
    # A suffix longer than the file is the file, and an end behind it is its end.
    "bytes=-5000": [(0, 1000)],
    "bytes=900-5000": [(900, 1000)],
    "bytes=900-99999999999999999999999999999999": [(900, 1000)],
    "bytes=0000000000000000000000000000010-19": [(10, 20)],
    "BYTES=0-1": [(0, 2)],
    "bytes= 0-1 ,\t5-6": [(0, 2), (5, 7)],
    "bytes=0-1,,5-6,": [(0, 2), (5, 7)],
    "bytes=5-6,0-1": [(5, 7), (0, 2)],
    # One that misses the file is left out as long as another hits it.
    "bytes=2000-3000,0-1": [(0, 2)],
    "bytes=-0,0-1": [(0, 2)],
    # No byte twice.
    "bytes=0-9,5-14": [(0, 15)],
    "bytes=0-9,10-19": [(0, 20)],
    "bytes=100-199,0-9,150-299": [(100, 300), (0, 10)],
    "bytes=0-9,20-29,5-24": [(0, 30)],
    "bytes=500-,-500,0-": [(0, 1000)],
    "bytes=" + ",".join(f"{i}-{i}" for i in range(0, 2 * MOST_RANGES, 2)): [
        (i, i + 1) for i in range(0, 2 * MOST_RANGES, 2)
    ],
}

IGNORED = [
    "",
    "bytes",
    "bytes=",
    "bytes=,",
    "bytes= ",
    "bytes=-",
    "bytes=1",
    "bytes=a-b",
    "bytes=1-0",
    "bytes=0-1,5-4",
    "bytes=0-1,x",
    "bytes=0-1;5-6",
    "bytes=0--1",
    "bytes=--1",
    "bytes=+0-1",
    "bytes=0x0-1",
    "bytes=0 - 1",
    "bytes =0-1",
    "bytes:0-1",
    "bytes=\u0661-\u0662",
    "bytes=0-1\n",
    "lines=0-1",
    "bytes=0-1, bytes=5-6",
    "bytes=" + ",".join(f"{i}-{i}" for i in range(0, 2 * MOST_RANGES + 2, 2)),
    "bytes=" + "," * 60000 + "0-1",
    "bytes=0-" + "," * 60000,
]

UNSATISFIABLE = [
    "bytes=1000-",
    "bytes=1000-1000",
    "bytes=5000-6000",
    "bytes=99999999999999999999999999-",
    "bytes=-0",
    "bytes=1000-,2000-",
]


@pytest.mark.parametrize(("header", "expected"), RANGES.items(), ids=lambda value: str(value)[:40])
def test_ranges(header: str, expected: list[tuple[int, int]]) -> None:
    assert [(one.start, one.end) for one in requested(header, SIZE)] == expected


@pytest.mark.parametrize("header", IGNORED, ids=lambda value: repr(value)[:40])
def test_what_is_malformed_or_too_much_is_ignored(header: str) -> None:
    assert requested(header, SIZE) == []


@pytest.mark.parametrize("header", UNSATISFIABLE)
def test_what_misses_the_file(header: str) -> None:
    with pytest.raises(UnsatisfiableError):
        requested(header, SIZE)


def test_an_empty_file_has_no_ranges() -> None:
    for header in ("bytes=0-", "bytes=0-0", "bytes=-1"):
        with pytest.raises(UnsatisfiableError):
            requested(header, 0)


def test_content_range_counts_from_zero_to_the_last_byte() -> None:
    assert ByteRange(0, 500).content_range(1000) == "bytes 0-499/1000"


_NUMBER = st.integers(0, 40).map(str) | st.just("")
_SPEC = st.lists(st.tuples(_NUMBER, _NUMBER), min_size=1, max_size=6)


@given(_SPEC, st.integers(0, 30))
def test_exactly_the_bytes_that_are_asked_for(spec: list[tuple[str, str]], size: int) -> None:
    header = "bytes=" + ",".join("-".join(pair) for pair in spec)
    asked: set[int] = set()
    for first, last in spec:
        if not first and not last:
            assert requested(header, size) == []
            return
        if not first:
            asked |= set(range(max(0, size - int(last)), size))
        elif not last:
            asked |= set(range(int(first), size))
        elif int(last) < int(first):
            assert requested(header, size) == []
            return
        else:
            asked |= set(range(int(first), min(int(last) + 1, size)))
    try:
        found = requested(header, size)
    except UnsatisfiableError:
        assert not asked
        return
    sent = [position for one in found for position in range(one.start, one.end)]
    assert len(sent) == len(set(sent))
    assert set(sent) == asked


@given(st.text(max_size=60), st.integers(0, 100))
def test_no_text_breaks_it(text: str, size: int) -> None:
    for header in (text, f"bytes={text}"):
        try:
            found = requested(header, size)
        except UnsatisfiableError:
            continue
        assert all(0 <= one.start < one.end <= size for one in found)
