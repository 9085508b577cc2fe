"""A download against a server that sends well, badly, or not at all."""

import errno
import io
import json
import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyrage
import pytest
from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.files import patience, transfer
from backupexport_cli.files.download import download_to_stdout
from backupexport_cli.files.partial_file import PartialFile
from backupexport_cli.service.http import ApiHttp, GivenToken
from backupexport_cli.service.rest import RestExports
from fetching import CONTENT, Words, encrypted_file, fetched, names_in
from file_server import FILE_NAME, JOB_ID, FileServer, job_of, serving_file

TOKEN = "not-for-others"


@pytest.fixture
def files() -> Iterator[FileServer]:
    with serving_file(CONTENT) as server:
        yield server


@pytest.fixture
def rest(files: FileServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[RestExports]:
    # httpx takes no empty file for the certificates of all.
    monkeypatch.delenv("SSL_CERT_FILE")
    http = ApiHttp(files.url, GivenToken(TOKEN), sleep=lambda _seconds: None)
    yield RestExports(http)
    http.close()


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PAUSES", (0.0,) * 6)


def test_a_file_is_fetched_whole_in_one_request(
    files: FileServer, rest: RestExports, tmp_path: Path
) -> None:
    words = Words()

    path = fetched(rest, tmp_path, output=words.output)

    assert path == tmp_path / FILE_NAME
    assert path.read_bytes() == CONTENT
    assert names_in(tmp_path) == [FILE_NAME]
    assert path.stat().st_mode & 0o777 == 0o600
    assert files.asked_ranges == [None]
    assert "its SHA-256 is right" in words.err.getvalue()


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("has_length", [True, False])
def test_twenty_cuts_are_gone_on_from(
    files: FileServer, rest: RestExports, tmp_path: Path, ranges: bool, has_length: bool
) -> None:
    at = sorted(random.Random(7).sample(range(1, len(CONTENT)), 20))
    # A server without ranges begins anew each time.
    steps = [b - a for a, b in zip([0, *at], at, strict=False)] if ranges else at
    files.manners.cuts = list(steps)
    files.manners.ranges, files.manners.has_length = ranges, has_length
    files.manners.resets = ranges

    assert fetched(rest, tmp_path).read_bytes() == CONTENT
    if ranges and has_length:
        assert len(files.asked_ranges) == 21
        # What the kernel had not handed over when the connection was cut comes again.
        assert all(range_ is not None for range_ in files.asked_ranges[1:])


def test_a_server_that_always_cuts_at_the_same_byte_is_given_up(
    files: FileServer, rest: RestExports, tmp_path: Path
) -> None:
    files.manners.cuts = [1000] + [0] * 50

    with pytest.raises(CliError) as raised:
        fetched(rest, tmp_path)

    assert raised.value.exit_code is ExitCode.UNREACHABLE
    assert f"backupexport download {JOB_ID}" in raised.value.advice
    assert names_in(tmp_path) == [f"{FILE_NAME}.part", f"{FILE_NAME}.part.json"]
    files.manners.cuts = []
    assert fetched(rest, tmp_path).read_bytes() == CONTENT
    assert names_in(tmp_path) == [FILE_NAME]


@pytest.mark.parametrize("connections", [1, 3])
def test_a_flipped_byte_is_noticed_and_nothing_kept(
    files: FileServer,
    rest: RestExports,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    connections: int,
) -> None:
    monkeypatch.setattr(transfer, "SEGMENT_BYTES", 300_000)
    wrong = bytearray(CONTENT)
    wrong[1_234_567] ^= 1
    files.content = bytes(wrong)

    with pytest.raises(CliError) as raised:
        fetched(rest, tmp_path, connections=connections)

    assert raised.value.exit_code is ExitCode.CORRUPT
    assert names_in(tmp_path) == []


def test_a_byte_that_was_flipped_on_the_disk_is_noticed(
    files: FileServer, rest: RestExports, tmp_path: Path
) -> None:
    files.manners.cuts = [1_000_000] + [0] * 20
    with pytest.raises(CliError):
        fetched(rest, tmp_path)
    with (tmp_path / f"{FILE_NAME}.part").open("r+b") as part:
        part.write(bytes([CONTENT[0] ^ 1]))
    files.manners.cuts = []

    with pytest.raises(CliError) as raised:
        fetched(rest, tmp_path)

    assert raised.value.exit_code is ExitCode.CORRUPT
    assert names_in(tmp_path) == []


def test_several_connections_fetch_each_byte_once(
    files: FileServer, rest: RestExports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "SEGMENT_BYTES", 300_000)

    assert fetched(rest, tmp_path, connections=3).read_bytes() == CONTENT
    assert len(files.asked_ranges) > 2


def test_several_connections_do_where_the_server_sends_no_ranges(
    files: FileServer, rest: RestExports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "SEGMENT_BYTES", 300_000)
    files.manners.ranges = False

    assert fetched(rest, tmp_path, connections=3).read_bytes() == CONTENT


def test_fewer_connections_do_where_the_server_allows_no_more(
    files: FileServer, rest: RestExports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "SEGMENT_BYTES", 300_000)
    files.manners.most_at_once = 1

    assert fetched(rest, tmp_path, connections=3).read_bytes() == CONTENT


@pytest.mark.parametrize(
    "content_range",
    [f"bytes 5-{len(CONTENT) - 1}/{len(CONTENT)}", "bytes */7", "bytes 9-5/7", "bytes a-b/c"],
)
def test_another_part_than_was_asked_for_is_not_taken(
    files: FileServer, rest: RestExports, tmp_path: Path, content_range: str
) -> None:
    files.manners.cuts = [1000]
    files.manners.content_range = content_range
    with pytest.raises(CliError) as raised:
        fetched(rest, tmp_path)

    assert raised.value.exit_code is ExitCode.UNREACHABLE
    assert FILE_NAME not in names_in(tmp_path)


@pytest.mark.parametrize("delta", [-1, 1, -100_000, 100_000])
def test_a_file_of_another_size_is_refused(
    files: FileServer, rest: RestExports, tmp_path: Path, delta: int
) -> None:
    files.content = CONTENT[:delta] if delta < 0 else CONTENT + bytes(delta)

    with pytest.raises(CliError) as raised:
        fetched(rest, tmp_path)

    assert raised.value.exit_code is ExitCode.CORRUPT
    assert FILE_NAME not in names_in(tmp_path)


def test_more_than_was_promised_is_left_where_it_is(
    files: FileServer, rest: RestExports, tmp_path: Path
) -> None:
    # Without a length nothing is promised; the job says how much it is.
    files.manners.has_length = False
    files.content = CONTENT + b"more"

    assert fetched(rest, tmp_path).read_bytes() == CONTENT


def test_a_file_that_changed_on_the_server_is_begun_anew(
    files: FileServer, rest: RestExports, tmp_path: Path
) -> None:
    files.content = bytes(len(CONTENT))
    files.manners.cuts = [2_000_000] + [0] * 20
    with pytest.raises(CliError):
        fetched(rest, tmp_path)
    files.content, files.manners.cuts, files.manners.etag = CONTENT, [], '"two"'

    assert fetched(rest, tmp_path).read_bytes() == CONTENT


def test_a_part_of_another_export_is_not_gone_on_with(
    files: FileServer, rest: RestExports, tmp_path: Path
) -> None:
    other = bytes(len(CONTENT))
    files.content, files.job = other, job_of(other)
    files.manners.cuts = [2_000_000] + [0] * 20
    with pytest.raises(CliError):
        fetched(rest, tmp_path)
    files.content, files.job, files.manners.cuts = CONTENT, job_of(CONTENT), []

    assert fetched(rest, tmp_path).read_bytes() == CONTENT
    assert files.asked_ranges[-1] is None


@pytest.mark.parametrize(
    ("status", "exit_code"),
    [(404, ExitCode.NOT_FOUND), (410, ExitCode.NOT_FOUND), (403, ExitCode.NOT_ALLOWED)],
)
def test_a_refusal_ends_it_at_once(
    files: FileServer, rest: RestExports, tmp_path: Path, status: int, exit_code: ExitCode
) -> None:
    files.manners.statuses = [status]

    with pytest.raises(CliError) as raised:
        fetched(rest, tmp_path)

    assert raised.value.exit_code is exit_code
    assert len(files.asked_ranges) == 1


def test_another_host_gets_no_token(files: FileServer, rest: RestExports, tmp_path: Path) -> None:
    with serving_file(CONTENT) as bucket:
        files.manners.redirect_to = f"{bucket.url}/signed/download"
        bucket.manners.cuts = [1_000_000]
        path = fetched(rest, tmp_path)
        assert path.read_bytes() == CONTENT
        assert bucket.asked_ranges[0] is None
        assert bucket.asked_ranges[1] is not None
        assert all("Authorization" not in headers for _, headers in bucket.requests)
        assert all(headers["Authorization"] == f"Bearer {TOKEN}" for _, headers in files.requests)
        # Each address is a new one.
        assert len(files.asked_ranges) == len(bucket.asked_ranges)
        rest._http.close()


def test_a_signed_address_that_has_run_out_is_asked_for_again(
    files: FileServer, rest: RestExports, tmp_path: Path
) -> None:
    with serving_file(CONTENT) as bucket:
        files.manners.redirect_to = f"{bucket.url}/signed/download"
        bucket.manners.is_bucket = True
        bucket.manners.statuses = [403, 403]
        assert fetched(rest, tmp_path).read_bytes() == CONTENT
        assert len(files.asked_ranges) == 3

        bucket.manners.statuses = [403] * 20
        with pytest.raises(CliError) as raised:
            fetched(rest, tmp_path / "another")
        rest._http.close()

    assert raised.value.exit_code is ExitCode.NOT_ALLOWED


@pytest.mark.parametrize("keep_encrypted", [False, True])
def test_a_file_is_decrypted_once_it_is_checked(
    files: FileServer, rest: RestExports, tmp_path: Path, keep_encrypted: bool
) -> None:
    key, identity = encrypted_file(files, tmp_path)
    folder = tmp_path / "downloads"
    folder.mkdir()

    path = fetched(rest, folder, identities=[identity], keep_encrypted=keep_encrypted)

    assert path == folder / FILE_NAME
    assert path.read_bytes() == CONTENT
    encrypted = [f"{FILE_NAME}.age"] if keep_encrypted else []
    assert names_in(folder) == [FILE_NAME, *encrypted]
    out = io.BytesIO()
    job, words = rest.job(JOB_ID), Words()
    download_to_stdout(rest, job, identities=[identity], output=words.output, stdout=out)
    assert out.getvalue() == CONTENT
    assert str(key) not in words.err.getvalue()


def test_with_a_wrong_key_the_encrypted_file_is_kept_whole(
    files: FileServer, rest: RestExports, tmp_path: Path
) -> None:
    _, right = encrypted_file(files, tmp_path)
    wrong = tmp_path / "wrong"
    wrong.write_text(str(pyrage.x25519.Identity.generate()))
    folder = tmp_path / "downloads"
    folder.mkdir()

    with pytest.raises(CliError) as raised:
        fetched(rest, folder, identities=[wrong])

    assert raised.value.exit_code is ExitCode.USAGE
    assert names_in(folder) == [f"{FILE_NAME}.age"]
    assert (folder / f"{FILE_NAME}.age").read_bytes() == files.content
    # Nothing is fetched again.
    asked = len(files.asked_ranges)
    assert fetched(rest, folder, identities=[right]).read_bytes() == CONTENT
    assert len(files.asked_ranges) == asked


def test_standard_output_of_an_encrypted_file_that_is_wrong_says_so(
    files: FileServer, rest: RestExports, tmp_path: Path
) -> None:
    _, identity = encrypted_file(files, tmp_path)
    # Long before its end.
    files.content = files.content[:70_000] + bytes(1) + files.content[70_001:]

    with pytest.raises(CliError, match="another SHA-256") as raised:
        download_to_stdout(
            rest,
            rest.job(JOB_ID),
            identities=[identity],
            output=Words().output,
            stdout=io.BytesIO(),
        )

    assert raised.value.exit_code is ExitCode.CORRUPT


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.ENOSPC, "the disk is full"), (errno.EDQUOT, "quota"), (errno.EIO, "input/output")],
)
def test_a_disk_that_takes_no_more_is_told_and_the_part_stays(
    files: FileServer,
    rest: RestExports,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    words: str,
) -> None:
    written = PartialFile.write

    def write(self: PartialFile, data: Any, position: int) -> None:
        if position > 1_000_000:
            raise OSError(number, os.strerror(number))
        written(self, data, position)

    with monkeypatch.context() as full:
        full.setattr(PartialFile, "write", write)
        with pytest.raises(CliError, match=words):
            fetched(rest, tmp_path)

    note = json.loads((tmp_path / f"{FILE_NAME}.part.json").read_text())
    [[start, end]] = note["finished"]
    assert start == 0
    assert end > 1_000_000
    assert fetched(rest, tmp_path).read_bytes() == CONTENT
    assert files.asked_ranges[-1] == f"bytes={end}-"


def test_too_little_room_is_told_before_anything_is_fetched(
    files: FileServer, rest: RestExports, tmp_path: Path
) -> None:
    files.job = job_of(CONTENT, size_bytes=2**62)

    with pytest.raises(CliError, match="has room for"):
        fetched(rest, tmp_path)

    assert files.asked_ranges == []


def test_a_directory_that_vanishes_is_told(
    files: FileServer, rest: RestExports, tmp_path: Path
) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    files.manners.holds = [1000]
    caught: list[CliError] = []

    def run() -> None:
        try:
            fetched(rest, folder)
        except CliError as error:
            caught.append(error)

    running = threading.Thread(target=run)
    running.start()
    assert files.held.acquire(timeout=20)
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    files.go_on.set()
    running.join(20)

    assert [error.exit_code for error in caught] == [ExitCode.FAILED]
    assert "is not there any more" in caught[0].message


def test_an_empty_file_needs_no_request(
    files: FileServer, rest: RestExports, tmp_path: Path
) -> None:
    files.content, files.job = b"", job_of(b"")

    assert fetched(rest, tmp_path).read_bytes() == b""


@pytest.mark.parametrize("ranges", [True, False])
def test_standard_output_gets_the_file_through_cuts(
    files: FileServer, rest: RestExports, ranges: bool
) -> None:
    files.manners.ranges = ranges
    files.manners.cuts = [100_000, 700_000, 900_000]
    files.manners.resets = False
    out = io.BytesIO()

    download_to_stdout(rest, rest.job(JOB_ID), identities=[], output=Words().output, stdout=out)

    assert out.getvalue() == CONTENT


def test_standard_output_ends_with_an_error_where_the_checksum_is_wrong(
    files: FileServer, rest: RestExports
) -> None:
    files.content = bytes(len(CONTENT))

    with pytest.raises(CliError) as raised:
        download_to_stdout(
            rest, rest.job(JOB_ID), identities=[], output=Words().output, stdout=io.BytesIO()
        )

    assert raised.value.exit_code is ExitCode.CORRUPT
