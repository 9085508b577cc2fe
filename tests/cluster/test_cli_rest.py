"""The command line over REST, as a process, against the real api.

Must hold: every command does what it says and no more, with one JSON document where that is asked
for; each way to end has its exit code; a file comes home whole, checked, and decrypted; 200 jobs
are listed in less than a second.
"""

import hashlib
import json
import secrets
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from age_keys import age_key
from command_line import CommandLine, first_line, interrupt
from held_project import HeldProject
from installation import SMALL, Installation
from playground.forward import free_port
from playground.rest import Api
from playground.targets import export_manifest, make_target
from playground.tools import kubectl, wait_for

pytestmark = pytest.mark.cluster

_MANY = 200
_NO_JOB = "0b7cbb51-7c4f-4f52-9b0e-3f6a2b1c9d8e"


@pytest.fixture
def cli(installation: Installation, tmp_path: Path) -> CommandLine:
    """With a token for all projects, of a caller of its own."""
    return CommandLine(tmp_path / "home", url=installation.url, token=installation.token())


@pytest.fixture(scope="module")
def finished(installation: Installation) -> dict[str, Any]:
    """A completed job of the small database."""
    api = installation.caller()
    return api.finished(api.export(project_id=SMALL).body["data"]["job_id"])


def name_of(job: dict[str, Any]) -> str:
    name: str = job["artifact"]["path"].rpartition("/")[2]
    return name


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_one_command_brings_a_checked_file_home(cli: CommandLine, api: Api) -> None:
    ended = cli.run("export", SMALL, "--download", ".")
    (file,) = [each for each in cli.folder.iterdir() if not each.name.startswith(".")]
    job_id = file.name.partition("-")[2].partition(".")[0]
    assert sha256(file) == api.job(job_id)["artifact"]["sha256"]
    assert str(file.name) in ended.out + ended.err


def test_what_was_asked_for_is_what_is_exported(cli: CommandLine, api: Api) -> None:
    ended = cli.run(
        "export", SMALL, "--format", "custom", "--content", "schema", "--exclude-table", "no.such",
        "--no-owner", "--no-privileges", "--storage-path", "a/b", "--wait", "--json",
    )  # fmt: skip
    last = ended.events[-1]
    job = api.job(last["job_id"])
    assert (job["status"], job["format"], job["content"]) == ("completed", "custom", "schema")
    assert job["exclude_tables"] == ["no.such"]
    assert (job["owner"], job["privileges"], job["storage_path"]) == (False, False, "a/b")
    assert last["artifact"] == job["artifact"]


def test_a_repeated_key_is_one_export(cli: CommandLine) -> None:
    key = secrets.token_hex(8)
    made = [cli.run("export", SMALL, "--idempotency-key", key, "--json").json for _ in range(2)]
    assert made[0]["job_id"] == made[1]["job_id"]
    refused = cli.run("export", SMALL, "--idempotency-key", key, "--format", "tar", code=1)
    assert "key" in refused.err


def test_a_job_is_shown_and_found_by_the_beginning_of_its_id(
    cli: CommandLine, finished: dict[str, Any]
) -> None:
    job_id = finished["job_id"]
    assert cli.run("job", job_id, "--json").json == finished
    assert cli.run("--json", "job", job_id[:8]).json["job_id"] == job_id
    assert job_id in cli.run("job", job_id).out


def test_jobs_are_listed_by_project_and_status(cli: CommandLine, finished: dict[str, Any]) -> None:
    found = cli.run(
        "jobs", "--project", SMALL, "--status", "completed", "--limit", "200", "--json"
    ).json["jobs"]  # fmt: skip
    assert finished["job_id"] in [job["job_id"] for job in found]
    assert {(job["project_id"], job["status"]) for job in found} == {(SMALL, "completed")}
    assert finished["job_id"][:8] in cli.run("jobs", "--project", SMALL, "--limit", "200").out


def test_a_finished_job_is_watched_to_its_end(cli: CommandLine, finished: dict[str, Any]) -> None:
    assert cli.run("watch", finished["job_id"], "--json").events[-1] == finished


def test_a_link_opens_the_file(
    cli: CommandLine, installation: Installation, finished: dict[str, Any]
) -> None:
    made = cli.run("link", finished["job_id"], "--lifetime", "5min", "--json").json
    # A path where the api has not been told where it is reached.
    url = urllib.parse.urljoin(installation.url, made["url"])
    with urllib.request.urlopen(url, timeout=60) as answer:
        assert hashlib.sha256(answer.read()).hexdigest() == finished["artifact"]["sha256"]


def test_a_download_is_checked_and_comes_under_its_name(
    cli: CommandLine, finished: dict[str, Any]
) -> None:
    expected, name = finished["artifact"]["sha256"], name_of(finished)
    cli.run("download", finished["job_id"])
    assert sha256(cli.folder / name) == expected
    cli.run("download", finished["job_id"], "named.zst")
    assert sha256(cli.folder / "named.zst") == expected
    (cli.folder / "there").mkdir()
    cli.run("download", finished["job_id"], "there")
    assert sha256(cli.folder / "there" / name) == expected
    assert not list(cli.folder.rglob("*.part"))


def test_a_download_to_stdout_is_the_file(cli: CommandLine, finished: dict[str, Any]) -> None:
    with cli.started("download", finished["job_id"], "-") as process:
        out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert hashlib.sha256(out).hexdigest() == finished["artifact"]["sha256"]


def test_a_file_is_checked_against_its_job(cli: CommandLine, finished: dict[str, Any]) -> None:
    cli.run("download", finished["job_id"])
    file = cli.folder / name_of(finished)
    cli.run("check", file.name)
    cli.run("check", file.name, "--job", finished["job_id"], "--json")
    damaged = bytearray(file.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    file.write_bytes(damaged)
    assert "SHA-256" in cli.run("check", file.name, code=6).err
    file.write_bytes(damaged[:-1])
    cli.run("check", file.name, code=6)
    cli.run("check", "no-such-file", code=4)


def test_the_command_to_restore_is_the_api_s(cli: CommandLine, finished: dict[str, Any]) -> None:
    ended = cli.run("restore-command", finished["job_id"])
    assert ended.out.strip() == finished["artifact"]["restore_command"]
    shown = cli.run("restore-command", finished["job_id"], "--json").json
    assert shown["check_command"] == finished["artifact"]["check_command"]


def test_targets_are_what_the_token_may_export(
    installation: Installation, finished: dict[str, Any], tmp_path: Path
) -> None:
    cli = CommandLine(tmp_path, url=installation.url, token=installation.token(SMALL))
    (project,) = cli.run("targets", "--json").json["projects"]
    assert (project["project_id"], project["suspended"]) == (SMALL, False)
    assert project["newest_job"]["created_at"] >= finished["created_at"]
    assert SMALL in cli.run("targets").out


def test_an_encrypted_file_is_decrypted_at_home(
    cli: CommandLine, finished: dict[str, Any], tmp_path: Path
) -> None:
    identity, recipient = age_key(tmp_path)
    ended = cli.run("export", SMALL, "--encrypt-to", recipient, "--wait", "--json")
    job = ended.events[-1]
    name = name_of(job)
    assert name.endswith(".age")
    cli.run("download", job["job_id"], "--identity", str(identity))
    assert not (cli.folder / name).exists()
    # As large as one that never was encrypted, but for the times and keys in it.
    size = (cli.folder / name.removesuffix(".age")).stat().st_size
    assert abs(size - finished["artifact"]["size_bytes"]) < 1024
    other = tmp_path / "other"
    other.mkdir()
    cli.run("download", job["job_id"], "x", "--identity", str(age_key(other)[0]), code=2)
    assert not (cli.folder / "x").exists()
    assert sha256(cli.folder / "x.age") == job["artifact"]["sha256"]


def test_a_job_is_cancelled_before_its_end(
    cli: CommandLine, api: Api, held_project: HeldProject, finished: dict[str, Any]
) -> None:
    with held_project.locked():
        job_id = cli.run("export", held_project.name, "--json").json["job_id"]
        held_project.wait_until_blocked(job_id)
        cli.run("cancel", job_id)
        assert api.finished(job_id)["status"] == "cancelled"
    cli.run("cancel", job_id)
    cli.run("watch", job_id, code=1)
    assert "has ended" in cli.run("cancel", finished["job_id"], code=1).err


def test_ctrl_c_leaves_the_export_alone_and_says_how_to_go_on(
    cli: CommandLine, api: Api, held_project: HeldProject
) -> None:
    with held_project.locked():
        with cli.started("export", held_project.name, "--wait") as process:
            job_id = first_line(process)
            held_project.wait_until_blocked(job_id)
            interrupt(process)
            ended = cli.ended(process, code=130)
        assert f"backupexport watch {job_id}" in ended.err
        wait_for(lambda: api.job(job_id)["status"] == "running", "the export to go on", 120)
    assert cli.run("watch", job_id, "--json").events[-1]["status"] == "completed"


@pytest.fixture
def broken_project(installation: Installation, connection: dict[str, str]) -> str:
    """A project whose password is wrong."""
    name = f"broken-{secrets.token_hex(3)}"
    make_target(installation.namespace, name, {**connection, "password": "wrong"})
    return name


def test_an_export_that_fails_ends_with_1_and_its_reason(
    cli: CommandLine, broken_project: str
) -> None:
    ended = cli.run("export", broken_project, "--wait", code=1)
    assert "password" in ended.err.lower()
    assert cli.run("export", broken_project, "--download", ".", code=1)
    job = cli.run("jobs", "--project", broken_project, "--json").json["jobs"][0]
    assert job["error"]["reason"] == "AuthenticationFailed"
    cli.run("download", job["job_id"], code=1)


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (("export", "no-such-project"), 4, "project"),
        (("job", _NO_JOB), 4, ""),
        (("download", _NO_JOB), 4, ""),
        (("export", "a b"), 2, "must be 1 to 100 characters"),
        (("export", SMALL, "--storage-path", "/a"), 2, "drop the leading /"),
        (("export", SMALL, "--no-compress", "--compression", "gzip"), 2, "compress"),
        (("export", SMALL, "--format", "plain"), 2, "plain"),
        (("export", SMALL, "--no-such-option"), 2, "--no-such-option"),
        (("frobnicate",), 2, "frobnicate"),
        (("job", "nightly"), 2, ""),
    ],
    ids=str,
)
def test_each_refusal_has_its_code_and_says_what_to_do(
    cli: CommandLine, arguments: tuple[str, ...], code: int, word: str
) -> None:
    told = cli.run(*arguments, code=code)
    assert word in told.err
    assert told.out == ""
    error = json.loads(cli.run(*arguments, "--json", code=code).err.splitlines()[-1])["error"]
    assert error["exit_code"] == code
    assert error["message"]
    assert error["advice"]


def test_a_token_that_is_not_good_ends_with_3(installation: Installation, tmp_path: Path) -> None:
    url = installation.url
    for token in ("nonsense", installation.token()[:-6] + "AAAAAA"):
        refused = CommandLine(tmp_path, url=url, token=token).run("jobs", code=3)
        assert "backupexport login" in refused.err
    CommandLine(tmp_path, url=url).run("jobs", code=3)
    other = CommandLine(tmp_path, url=url, token=installation.token("another"))
    other.run("export", SMALL, code=3)


def test_a_server_that_is_not_there_ends_with_5(tmp_path: Path) -> None:
    cli = CommandLine(tmp_path, url=f"http://127.0.0.1:{free_port()}", token="a.b.c")
    assert cli.run("jobs", code=5).err


@pytest.fixture
def many(installation: Installation) -> Iterator[str]:
    """A project with 200 jobs that were cancelled before they began."""
    project = f"many-{secrets.token_hex(3)}"
    namespace = installation.namespace
    listed = [
        export_manifest(namespace, f"{project}-{number}", projectId=project, cancel=True)
        for number in range(_MANY)
    ]
    whole = {"apiVersion": "v1", "kind": "List", "items": listed}
    kubectl("create", "-f", "-", stdin=json.dumps(whole))
    selector = f"spec.projectId={project}"
    ended = f"/api/jobs?project_id={project}&status=cancelled&limit={_MANY}"
    api = installation.caller()

    def over() -> bool:
        # The api, which may know of an end a moment later than Kubernetes.
        return len(api.call("GET", ended).body["data"]) == _MANY

    wait_for(over, "the end of all of them", 400, every=1)
    yield project
    kubectl("-n", namespace, "delete", "bex", "--field-selector", selector, "--wait=false")


def test_two_hundred_jobs_are_listed(cli: CommandLine, many: str) -> None:
    ended = cli.run("jobs", "--project", many, "--limit", str(_MANY))
    assert len([line for line in ended.out.splitlines() if "cancelled" in line]) == _MANY
