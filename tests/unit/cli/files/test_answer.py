"""What the head of an answer says of the bytes that follow."""

import httpx
import pytest
from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.files.answer import ChangedError, read_answer
from backupexport_cli.files.segments import Span
from backupexport_cli.files.wanted import WantedFile

WANTED = WantedFile("id", "name", 100, "0" * 64)


def read(status: int, start: int = 0, etag: str | None = None, **headers: str) -> object:
    given = httpx.Headers({name.replace("_", "-"): value for name, value in headers.items()})
    part = read_answer(status, given, WANTED, start, etag)
    return part.span, part.etag


def test_what_was_asked_for_comes() -> None:
    assert read(200, content_length="100", ETag='"a"') == (Span(0, 100), '"a"')
    assert read(200) == (Span(0, 100), None)
    assert read(206, 40, '"a"', content_range="bytes 40-99/100", ETag='"a"') == (
        Span(40, 100),
        '"a"',
    )


def test_the_whole_file_in_place_of_a_part_begins_before_it() -> None:
    assert read(200, 40, '"a"', content_length="100", ETag='"a"') == (Span(0, 100), '"a"')


def test_a_weak_tag_says_nothing() -> None:
    assert read(200, ETag='W/"a"') == (Span(0, 100), None)


@pytest.mark.parametrize("status", [412, 416])
def test_a_refused_condition_is_a_change(status: int) -> None:
    with pytest.raises(ChangedError):
        read(status)


def test_another_tag_is_a_change() -> None:
    with pytest.raises(ChangedError):
        read(200, 40, '"a"', ETag='"b"')
    with pytest.raises(ChangedError):
        read(206, 40, '"a"', content_range="bytes 40-99/100", ETag='"b"')


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (200, {"content_length": "99", "ETag": '"a"'}),
        (206, {"content_range": "bytes 40-99/101"}),
    ],
)
@pytest.mark.parametrize("etag", [None, '"a"'])
def test_another_size_is_not_the_exported_file(
    status: int, headers: dict[str, str], etag: str | None
) -> None:
    with pytest.raises(CliError) as raised:
        read(status, 40, etag, **headers)

    assert raised.value.exit_code is ExitCode.CORRUPT


@pytest.mark.parametrize("headers", [{}, {"ETag": 'W/"a"'}, {"ETag": '"page"'}])
def test_a_page_in_place_of_the_file_says_nothing_of_it(headers: dict[str, str]) -> None:
    with pytest.raises(CliError, match="sends 39 bytes in place") as raised:
        read(200, 40, '"a"', content_length="39", content_type="text/html", **headers)

    assert raised.value.exit_code is ExitCode.UNREACHABLE


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (206, {}),
        (206, {"content_range": "bytes 41-99/100"}),
        (206, {"content_range": "bytes 0-99/100"}),
        (206, {"content_range": "bytes */100"}),
        (206, {"content_type": "multipart/byteranges; boundary=x"}),
        (204, {}),
        (200, {"content_encoding": "gzip"}),
    ],
)
def test_what_makes_no_sense_is_not_taken(status: int, headers: dict[str, str]) -> None:
    with pytest.raises(CliError) as raised:
        read(status, 40, **headers)

    assert raised.value.exit_code is ExitCode.UNREACHABLE
