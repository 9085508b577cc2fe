"""What goes wrong between the command line and the real api.

Must hold: a download that is killed, cut, or whose replica dies goes on where it was and is whole
in the end; a byte that changes on the way is noticed, and its file not kept; a replica that dies
and a rate limit are waited out, and a token that ends in the middle is told with the way on.
"""

import hashlib
import json
import random
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import api_pods
import jwt
import pytest
from caller_tokens import signing_key
from command_line import CommandLine, first_line
from faulty_link import FaultyLink, faulty_link
from gate import gate
from held_project import HeldProject
from installation import LARGE, SMALL, Installation
from local_api import LocalApi, local_api
from playground.rest import Api
from playground.tools import kubectl, wait_for

pytestmark = pytest.mark.cluster

_KILLS = 20


@dataclass(frozen=True)
class Finished:
    """A completed job of the large database."""

    job: dict[str, Any]

    @property
    def id(self) -> str:
        found: str = self.job["job_id"]
        return found

    @property
    def name(self) -> str:
        path: str = self.job["artifact"]["path"]
        return path.rpartition("/")[2]

    @property
    def size(self) -> int:
        size: int = self.job["artifact"]["size_bytes"]
        return size

    def is_whole(self, file: Path) -> bool:
        whole: bool = (
            hashlib.sha256(file.read_bytes()).hexdigest() == self.job["artifact"]["sha256"]
        )
        return whole


@pytest.fixture(scope="module")
def finished(installation: Installation) -> Finished:
    api = installation.caller()
    job = api.finished(api.export(project_id=LARGE).body["data"]["job_id"], 600)
    assert job["status"] == "completed"
    return Finished(job)


@pytest.fixture
def link(installation: Installation) -> Iterator[FaultyLink]:
    with faulty_link(installation.url) as made:
        yield made


@pytest.fixture
def cli(installation: Installation, link: FaultyLink, tmp_path: Path) -> CommandLine:
    """It reaches the api over the link."""
    return CommandLine(tmp_path / "home", url=link.url, token=installation.token())


def token(installation: Installation, **claims: Any) -> str:
    """One of a caller of its own, for all projects."""
    given = {"sub": f"test-{secrets.token_hex(4)}", "projects": ["*"], **claims}
    return jwt.encode(given, signing_key(installation.release), "HS256")


def noted(cli: CommandLine, finished: Finished) -> int:
    """How many bytes of the file a killed download has left, as its own note says."""
    note = cli.folder / f"{finished.name}.part.json"
    if not note.exists():
        return 0
    spans = json.loads(note.read_text(encoding="utf-8"))["finished"]
    return sum(end - start for start, end in spans)


def test_a_download_that_is_killed_at_twenty_bytes_goes_on(
    cli: CommandLine, link: FaultyLink, finished: Finished
) -> None:
    seed = secrets.randbelow(10**6)
    chance = random.Random(seed)
    offsets = sorted(chance.sample(range(1, finished.size * 9 // 10), _KILLS))
    file = cli.folder / finished.name
    for number, (before, offset) in enumerate(pairwise([0, *offsets])):
        left = noted(cli, finished)
        link.hold_after(offset - before)
        with cli.started("download", finished.id) as process:
            assert link.is_held.wait(120), f"seed {seed}: {process.poll()}"
            # It notes four times a second what has come; a few are killed before it could.
            if number % 4:
                wait_for(lambda: noted(cli, finished) > left, f"a note, seed {seed}", 60)  # noqa: B023
            process.kill()
            process.communicate()
        assert not file.exists(), f"seed {seed}"
        assert noted(cli, finished) >= left, f"seed {seed}"
    left = noted(cli, finished)
    assert left > finished.size // 4, f"seed {seed}"
    link.hold_after(None)
    # What another connection takes over comes twice in part, and how much depends on their speeds.
    cli.run("download", finished.id, "--connections", "1")
    assert finished.is_whole(file), f"seed {seed}"
    assert not list(cli.folder.glob("*.part*"))
    assert link.passed <= finished.size - left + finished.size // 10, f"seed {seed}"


def test_a_download_whose_connections_are_cut_goes_on_by_itself(
    cli: CommandLine, link: FaultyLink, finished: Finished
) -> None:
    link.hold_after(finished.size // 2)
    with cli.started("download", finished.id) as process:
        assert link.is_held.wait(120)
        link.cut()
        link.hold_after(None)
        cli.ended(process)
    assert finished.is_whole(cli.folder / finished.name)
    assert link.passed < finished.size


def test_a_byte_that_changes_on_the_way_is_noticed_and_the_file_not_kept(
    cli: CommandLine, link: FaultyLink, finished: Finished
) -> None:
    for at in (0, secrets.randbelow(finished.size), finished.size - 1):
        link.flip_at(at)
        told = cli.run("download", finished.id, code=6)
        assert "SHA-256" in told.err or "checksum" in told.err, f"byte {at}"
        assert not [it for it in cli.folder.iterdir() if not it.name.startswith(".")], f"byte {at}"
    cli.run("download", finished.id)
    assert finished.is_whole(cli.folder / finished.name)


def test_a_changed_byte_is_noticed_on_stdout_too(
    cli: CommandLine, link: FaultyLink, finished: Finished
) -> None:
    link.flip_at(finished.size // 2)
    with cli.started("download", finished.id, "-") as process:
        process.communicate(timeout=240)
    assert process.returncode == 6


@pytest.fixture
def replicas(installation: Installation) -> Iterator[list[tuple[str, str]]]:
    """Two of the api's pods: the name and the URL of each."""
    api_pods.scale(installation.namespace, f"{installation.release.name}-api", "api", 2)
    with ExitStack() as stack:
        yield [
            (pod, stack.enter_context(api_pods.forwarded(installation.namespace, pod)))
            for pod in api_pods.names(installation.namespace)[:2]
        ]
    api_pods.scale(installation.namespace, f"{installation.release.name}-api", "api", 2)


def kill(installation: Installation, pod: str) -> None:
    kubectl("-n", installation.namespace, "delete", "pod", pod, "--grace-period=0", "--force")


def test_a_replica_that_dies_ends_neither_a_wait_nor_a_download(
    installation: Installation,
    cli: CommandLine,
    link: FaultyLink,
    finished: Finished,
    held_project: HeldProject,
    replicas: list[tuple[str, str]],
) -> None:
    (dying, first), (_, second) = replicas
    link.target = first
    link.hold_after(finished.size // 2)
    with ExitStack() as stack:
        with held_project.locked():
            wait = stack.enter_context(cli.started("export", held_project.name, "--wait"))
            job_id = first_line(wait)
            held_project.wait_until_blocked(job_id)
            download = stack.enter_context(cli.started("download", finished.id))
            assert link.is_held.wait(120)
            kill(installation, dying)
            link.target = second
            link.cut()
            link.hold_after(None)
        cli.ended(wait)
        cli.ended(download)
    assert Api(second, installation.token()).job(job_id)["status"] == "completed"
    assert finished.is_whole(cli.folder / finished.name)


def test_a_token_that_ends_in_the_middle_is_told_with_the_way_on(
    installation: Installation,
    link: FaultyLink,
    finished: Finished,
    held_project: HeldProject,
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    before = CommandLine(tmp_path / "before", url=installation.url, token=installation.token())
    began = time.monotonic()
    before.run("download", finished.id)
    # As much as this machine, busy as it is, takes to begin; the api gives five seconds more.
    lifetime = 8 + 4 * (time.monotonic() - began)
    link.hold_after(finished.size // 2)
    with held_project.locked(), ExitStack() as stack:
        (pod,) = api_pods.names(installation.namespace)[:1]
        link.target = stack.enter_context(api_pods.forwarded(installation.namespace, pod))
        ends = int(time.time() + lifetime)
        short = token(installation, exp=ends)
        cli = CommandLine(home, url=link.url, token=short)
        # A file that nobody reads on holds up all that goes by its port-forward.
        waiting = CommandLine(tmp_path / "waiting", url=installation.url, token=short)
        wait = stack.enter_context(waiting.started("export", held_project.name, "--wait"))
        job_id = first_line(wait)
        download = stack.enter_context(cli.started("download", finished.id))
        assert link.is_held.wait(120)
        wait_for(lambda: time.time() > ends + 6, "the token's end", lifetime + 60)
        link.cut()
        link.hold_after(None)
        assert "backupexport login" in waiting.ended(wait, code=3).err
        assert "backupexport login" in cli.ended(download, code=3).err
    assert not (home / finished.name).exists()
    again = CommandLine(home, url=link.url, token=installation.token())
    link.hold_after(None)
    link.target = installation.url
    again.run("watch", job_id)
    again.run("download", finished.id, "--connections", "1")
    assert finished.is_whole(home / finished.name)
    assert link.passed < finished.size * 2 // 3


@pytest.fixture
def strict_api(installation: Installation, tmp_path: Path) -> Iterator[LocalApi]:
    """It takes two requests for exports in ten seconds, and five others in five."""
    limits = {
        "BACKUPEXPORT_EXPORT_RATE_LIMIT": "2/10 seconds",
        "BACKUPEXPORT_READ_RATE_LIMIT": "5/5 seconds",
    }
    with local_api(installation.namespace, tmp_path, limits) as api:
        yield api


def test_too_many_requests_are_waited_out(strict_api: LocalApi, tmp_path: Path) -> None:
    mine = strict_api.token(SMALL)
    parts = urlsplit(strict_api.url)
    with gate((str(parts.hostname), int(parts.port or 0))) as between:
        url = f"http://127.0.0.1:{between.port}"
        cli = CommandLine(tmp_path / "home", url=url, token=mine)
        between.stall()
        with cli.started("export", SMALL, "--wait") as process:
            # However long it takes to start: what is counted comes right before its request.
            wait_for(lambda: between.arrived > 0, "the command's first request", 120)
            for _ in range(2):
                assert Api(strict_api.url, mine).export(project_id=1).status == 400
            begin = time.monotonic()
            between.open()
            ended = cli.ended(process)
        assert time.monotonic() - begin > 1
        assert "wait" in ended.err.lower()
        for _ in range(8):
            cli.run("jobs")
