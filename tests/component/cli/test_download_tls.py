"""A download by https, as it comes through most ingresses, against a server of every manner."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from backupexport_cli.files import body, patience
from backupexport_cli.files.partial_file import PartialFile
from backupexport_cli.files.transfer import Transfer
from backupexport_cli.files.wanted import wanted_file
from backupexport_cli.service.http import ApiHttp, GivenToken
from backupexport_cli.service.rest import RestExports
from certificate_authority import Authority
from fetching import CONTENT, fetched
from file_server import JOB_ID, FileServer, serving_file


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    authority = Authority(tmp_path)
    trusted = tmp_path / "authority.pem"
    trusted.write_text(authority.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    monkeypatch.setattr(patience, "PAUSES", (0.0,) * 6)
    with serving_file(CONTENT, authority.issue("127.0.0.1")) as server:
        yield server


@pytest.fixture
def rest(files: FileServer) -> Iterator[RestExports]:
    http = ApiHttp(files.url, GivenToken("any"), sleep=lambda _seconds: None)
    yield RestExports(http)
    http.close()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def test_a_file_is_fetched_whole_in_one_request(
    files: FileServer, rest: RestExports, home: Path
) -> None:
    assert fetched(rest, home).read_bytes() == CONTENT
    assert files.asked_ranges == [None]


def test_cuts_are_gone_on_from(files: FileServer, rest: RestExports, home: Path) -> None:
    files.manners.cuts = [50_000, 1, 20_000]
    # What comes after the head is lost with a reset, and TLS tells any other end.
    files.manners.resets = False

    assert fetched(rest, home).read_bytes() == CONTENT
    assert files.asked_ranges == [None, "bytes=50000-", "bytes=50001-", "bytes=70001-"]


def test_a_server_that_has_gone_silent_is_asked_for_the_rest(
    files: FileServer, rest: RestExports, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body, "_STALL_SECONDS", 2)
    files.manners.holds = [40_000]

    assert fetched(rest, home).read_bytes() == CONTENT
    assert files.asked_ranges == [None, "bytes=40000-"]
    files.go_on.set()


def test_what_has_come_is_seen_while_the_rest_is_waited_for(
    files: FileServer, rest: RestExports, home: Path
) -> None:
    files.manners.holds = [40_000]
    told = []

    def tell(done: int) -> None:
        told.append(done)
        if done >= 40_000:
            files.go_on.set()

    wanted = wanted_file(rest.job(JOB_ID))
    with PartialFile(home / "file", wanted) as part:
        Transfer(rest, wanted, part, on_progress=tell).run()

    assert 40_000 in told
    assert files.asked_ranges == [None]
