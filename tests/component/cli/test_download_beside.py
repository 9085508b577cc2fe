"""A download into a folder in which something is there already."""

import errno
import fcntl
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.files.partial_file import PartialFile
from backupexport_cli.files.wanted import wanted_file
from backupexport_cli.service.http import ApiHttp, GivenToken
from backupexport_cli.service.rest import RestExports
from fetching import CONTENT, Words, encrypted_file, fetched, names_in
from file_server import FILE_NAME, JOB_ID, FileServer, serving_file

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


def test_an_encrypted_file_that_was_there_before_stays(
    files: FileServer, rest: RestExports, tmp_path: Path
) -> None:
    _, identity = encrypted_file(files, tmp_path)
    folder, words = tmp_path / "downloads", Words()
    folder.mkdir()
    fetched(rest, folder)

    path = fetched(rest, folder, identities=[identity], output=words.output)

    assert path.read_bytes() == CONTENT
    assert names_in(folder) == [FILE_NAME, f"{FILE_NAME}.age"]
    assert (folder / f"{FILE_NAME}.age").read_bytes() == files.content
    assert "stays: it was there before" in words.err.getvalue()


def test_a_decrypted_file_that_is_there_is_not_called_another(
    files: FileServer, rest: RestExports, tmp_path: Path
) -> None:
    _, identity = encrypted_file(files, tmp_path)
    folder = tmp_path / "downloads"
    folder.mkdir()
    fetched(rest, folder, identities=[identity])

    with pytest.raises(CliError, match="whether it is this file is not known") as raised:
        fetched(rest, folder, identities=[identity])
    assert "--force" in raised.value.advice


def test_force_replaces_only_the_file_that_is_named(
    files: FileServer, rest: RestExports, tmp_path: Path
) -> None:
    _, identity = encrypted_file(files, tmp_path)
    target, unnamed = tmp_path / "o2.sql", tmp_path / "o2.sql.age"
    target.write_bytes(b"old")
    unnamed.write_bytes(b"mine")

    with pytest.raises(CliError, match=r"o2\.sql\.age is there already") as raised:
        fetched(rest, target, identities=[identity], force=True)

    assert raised.value.exit_code is ExitCode.USAGE
    assert "--force" not in raised.value.advice
    assert (target.read_bytes(), unnamed.read_bytes()) == (b"old", b"mine")
    unnamed.unlink()
    assert fetched(rest, target, identities=[identity], force=True).read_bytes() == CONTENT
    assert not unnamed.exists()


def test_a_file_that_is_there_and_whole_is_not_fetched_again(
    files: FileServer, rest: RestExports, tmp_path: Path
) -> None:
    (tmp_path / FILE_NAME).write_bytes(CONTENT)
    words = Words()

    fetched(rest, tmp_path, output=words.output)

    assert "is there already, whole" in words.err.getvalue()
    assert files.asked_ranges == []


def test_another_file_is_replaced_only_by_force(
    files: FileServer, rest: RestExports, tmp_path: Path
) -> None:
    target = tmp_path / "mine.sql.zst"
    target.write_bytes(b"mine")

    with pytest.raises(CliError) as raised:
        fetched(rest, target)
    assert raised.value.exit_code is ExitCode.USAGE
    assert target.read_bytes() == b"mine"

    fetched(rest, target, force=True)
    assert target.read_bytes() == CONTENT
    assert names_in(tmp_path) == ["mine.sql.zst"]


@pytest.mark.parametrize("decrypts", [False, True])
def test_force_replaces_no_pipe(
    files: FileServer, rest: RestExports, tmp_path: Path, decrypts: bool
) -> None:
    identities = [encrypted_file(files, tmp_path)[1]] if decrypts else []
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(CliError, match="pipe is there already") as raised:
        fetched(rest, tmp_path / "pipe", identities=identities, force=True)

    assert raised.value.exit_code is ExitCode.USAGE
    assert (tmp_path / "pipe").is_fifo()


def test_a_file_that_appears_meanwhile_is_spared(
    files: FileServer, rest: RestExports, tmp_path: Path
) -> None:
    files.manners.holds = [1000]
    target = tmp_path / FILE_NAME
    caught: list[CliError] = []

    def run() -> None:
        try:
            fetched(rest, tmp_path)
        except CliError as error:
            caught.append(error)

    running = threading.Thread(target=run)
    running.start()
    assert files.held.acquire(timeout=20)
    target.write_bytes(b"mine")
    files.go_on.set()
    running.join(20)

    assert [error.exit_code for error in caught] == [ExitCode.USAGE]
    assert target.read_bytes() == b"mine"


def test_two_commands_don_t_write_one_file(
    files: FileServer, rest: RestExports, tmp_path: Path
) -> None:
    part = tmp_path / f"{FILE_NAME}.part"
    with part.open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)

        with pytest.raises(CliError, match="Another command is writing"):
            fetched(rest, tmp_path)

    assert fetched(rest, tmp_path).read_bytes() == CONTENT


def test_a_link_in_the_place_of_the_part_leads_nowhere(
    files: FileServer, rest: RestExports, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    folder = tmp_path / "downloads"
    folder.mkdir()
    (folder / f"{FILE_NAME}.part").symlink_to(victim)

    with pytest.raises(CliError, match="symbolic link"):
        fetched(rest, folder)

    assert victim.read_bytes() == b"mine"


def note_of(files: FileServer, **changed: Any) -> bytes:
    """A note that this command writes, of the file that is served."""
    note = {
        "job_id": JOB_ID,
        "sha256": files.job["artifact"]["sha256"],
        "size": len(CONTENT),
        "etag": None,
        "finished": [],
    }
    return json.dumps(note | changed).encode()


def test_a_note_that_tells_of_nothing_that_is_there_is_begun_anew(
    files: FileServer, rest: RestExports, tmp_path: Path
) -> None:
    # The last is more than there is.
    for spans in (None, 1, [[5]], [[0, -1]], [[0, 2**70]], [[1, 1]], [["0", "9"]], [[0, 10**6]]):
        (tmp_path / f"{FILE_NAME}.part").write_bytes(b"x" * 1000)
        (tmp_path / f"{FILE_NAME}.part").chmod(0o600)
        (tmp_path / f"{FILE_NAME}.part.json").write_bytes(note_of(files, finished=spans))
        path = fetched(rest, tmp_path)
        assert path.read_bytes() == CONTENT
        path.unlink()


OTHER_JOB = "11111111-2222-4333-8444-555555555555"


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    "note",
    [None, b"", b"[" * 100_000, b"\xff", b"[]", b"{}", b'{"job_id": null}', "of another job"],
)
def test_what_is_no_part_of_this_job_is_left_as_it_is(
    files: FileServer, rest: RestExports, tmp_path: Path, note: bytes | str | None, force: bool
) -> None:
    part, beside = tmp_path / "out.part", tmp_path / "out.part.json"
    part.write_bytes(b"mine")
    part.chmod(0o644)
    if note is not None:
        beside.write_bytes(note_of(files, job_id=OTHER_JOB) if isinstance(note, str) else note)
    before = beside.read_bytes() if note is not None else None

    with pytest.raises(CliError, match="not from an earlier run of this") as raised:
        fetched(rest, tmp_path / "out", force=force)

    assert raised.value.exit_code is ExitCode.USAGE
    assert "--force" not in raised.value.advice
    assert part.read_bytes() == b"mine"
    assert part.stat().st_mode & 0o777 == 0o644
    assert before is None or beside.read_bytes() == before
    assert names_in(tmp_path) == ["out.part", *(["out.part.json"] if note is not None else [])]
    assert files.asked_ranges == []


@pytest.mark.parametrize("kind", ["file", "link", "pipe", "directory"])
def test_a_name_of_the_note_that_something_else_has_is_left_to_it(
    rest: RestExports, tmp_path: Path, kind: str
) -> None:
    beside, mine = tmp_path / "out.part.json", tmp_path / "mine"
    mine.write_bytes(b"mine")
    if kind == "file":
        beside.write_bytes(b'{"mine": true}')
    elif kind == "link":
        beside.symlink_to(mine)
    elif kind == "pipe":
        os.mkfifo(beside)
    else:
        beside.mkdir()

    with pytest.raises(CliError, match=r"out\.part\.json is there already") as raised:
        fetched(rest, tmp_path / "out")

    assert raised.value.exit_code is ExitCode.USAGE
    assert mine.read_bytes() == b"mine"
    assert (beside.is_symlink(), beside.is_dir()) == (kind == "link", kind == "directory")
    assert kind != "file" or beside.read_bytes() == b'{"mine": true}'


def test_a_note_whose_part_was_removed_is_in_nobody_s_way(
    files: FileServer, rest: RestExports, tmp_path: Path
) -> None:
    (tmp_path / "out.part.json").write_bytes(note_of(files, job_id=OTHER_JOB))

    assert fetched(rest, tmp_path / "out").read_bytes() == CONTENT
    assert names_in(tmp_path) == ["out"]


@pytest.mark.parametrize("mode", [0o644, 0o666, 0o640])
@pytest.mark.parametrize("there", [0, 1_000_000])
def test_a_part_that_others_may_have_open_does_not_become_the_file(
    files: FileServer, rest: RestExports, tmp_path: Path, mode: int, there: int
) -> None:
    part = tmp_path / "out.part"
    part.write_bytes(CONTENT[:there])
    part.chmod(mode)
    if there:
        note = note_of(files, finished=[[0, there]])
        (tmp_path / "out.part.json").write_bytes(note)

    with part.open("rb") as of_others:
        path = fetched(rest, tmp_path / "out")
        assert of_others.read() == CONTENT[:there]

    assert path.read_bytes() == CONTENT
    assert path.stat().st_mode & 0o777 == 0o600


def test_on_a_file_system_without_modes_it_is_gone_on_with(
    files: FileServer, rest: RestExports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = tmp_path / "out.part"
    part.write_bytes(CONTENT[:1_000_000])
    part.chmod(0o666)
    (tmp_path / "out.part.json").write_bytes(note_of(files, finished=[[0, 1_000_000]]))

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "fchmod", refuse)

    assert fetched(rest, tmp_path / "out").read_bytes() == CONTENT
    assert files.asked_ranges == ["bytes=1000000-"]


@pytest.mark.parametrize("there", [b"", b"theirs"])
def test_another_user_s_part_is_not_taken(
    files: FileServer,
    rest: RestExports,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    there: bytes,
) -> None:
    part = tmp_path / "out.part"
    part.write_bytes(there)
    part.chmod(0o600)
    if there:
        (tmp_path / "out.part.json").write_bytes(note_of(files))
    monkeypatch.setattr(os, "geteuid", lambda: part.stat().st_uid + 1)

    with pytest.raises(CliError, match="not from an earlier run of this"):
        fetched(rest, tmp_path / "out")

    assert part.read_bytes() == there


def test_a_second_name_of_the_user_s_file_is_not_removed(rest: RestExports, tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"mine")
    os.link(tmp_path / "mine", tmp_path / "out.part")

    with pytest.raises(CliError, match="not from an earlier run of this"):
        fetched(rest, tmp_path / "out")

    assert names_in(tmp_path) == ["mine", "out.part"]


def test_a_run_that_is_killed_before_its_first_note_is_gone_on_with(
    files: FileServer, rest: RestExports, tmp_path: Path
) -> None:
    wanted = wanted_file(rest.job(JOB_ID))
    with PartialFile(tmp_path / "out", wanted) as part:
        part.write(b"x" * 1000, 0)

    assert fetched(rest, tmp_path / "out").read_bytes() == CONTENT
    assert files.asked_ranges == [None]
