"""Logins, and how long they are good: the command line against the real api.

Must hold: a token that is typed, made by the api's pod, or given by an issuer's device flow is kept
for its user alone, used, shown by nobody, and forgotten at a logout; one that the issuer refreshes
lasts as long as a wait does; with a context of Kubernetes each command reaches the api by a port of
its own, through restarts of the api; clocks that are five minutes apart are no hindrance.
"""

import json
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jwt
import pytest
from caller_tokens import signing_key
from command_line import CommandLine, first_line
from device_issuer import AUDIENCE, CLIENT, DeviceIssuer
from held_project import HeldProject
from installation import SMALL, Installation
from local_api import LocalApi, local_api
from playground.rest import Api
from playground.tools import get, kubectl, wait_for

pytestmark = pytest.mark.cluster

_OFF = 300
# Seconds: a slow machine needs some of them between a token and the api's look at it.
_SHORT = 20


def token(installation: Installation, **claims: Any) -> str:
    """One of a caller of its own, for all projects."""
    given = {"sub": f"test-{secrets.token_hex(4)}", "projects": ["*"], **claims}
    return jwt.encode(given, signing_key(installation.release), "HS256")


def files(cli: CommandLine) -> list[Path]:
    """What commands have brought home."""
    return [file for file in cli.folder.iterdir() if not file.name.startswith(".")]


def kept_files(cli: CommandLine) -> list[Path]:
    """What the command line keeps for itself."""
    return [file for file in (cli.folder / ".config").rglob("*") if file.is_file()]


def test_a_typed_token_is_kept_and_forgotten(installation: Installation, tmp_path: Path) -> None:
    cli = CommandLine(tmp_path / "home")
    mine = installation.token(SMALL, subject="alice")
    cli.hides(mine)
    cli.run("jobs", code=3)
    cli.run("login", installation.url, "--token", "-", "--name", "ours", stdin=f"{mine}\n")
    assert any(mine in file.read_text(encoding="utf-8") for file in kept_files(cli))
    assert {stat.S_IMODE(file.stat().st_mode) & 0o077 for file in kept_files(cli)} == {0}
    assert "alice" in cli.run("whoami").out
    assert cli.run("whoami", "--json").json["accepted"] is True
    cli.run("export", SMALL, "--download", ".")
    assert len(files(cli)) == 1
    assert cli.run("jobs", "--context", "ours", "--json").json["jobs"]
    cli.run("jobs", "--context", "theirs", code=4)
    cli.run("logout")
    assert not any(mine in file.read_text(encoding="utf-8") for file in kept_files(cli))
    assert "backupexport login" in cli.run("jobs", code=3).err


def test_a_token_that_the_server_refuses_is_not_kept(
    installation: Installation, tmp_path: Path
) -> None:
    cli = CommandLine(tmp_path / "home")
    over = token(installation, exp=int(time.time()) - 60)
    cli.hides(over)
    cli.run("login", installation.url, "--token", "-", stdin=over, code=3)
    assert not any(over in file.read_text(encoding="utf-8") for file in kept_files(cli))


def test_what_the_environment_says_wins(installation: Installation, tmp_path: Path) -> None:
    home = tmp_path / "home"
    CommandLine(home).run(
        "login", installation.url, "--token", "-", stdin=installation.token("another")
    )
    cli = CommandLine(home, url=installation.url, token=installation.token(SMALL))
    (project,) = cli.run("targets", "--json").json["projects"]
    assert project["project_id"] == SMALL


def test_a_token_is_made_where_the_secret_is(installation: Installation, tmp_path: Path) -> None:
    secret = signing_key(installation.release)
    cli = CommandLine(tmp_path / "home")
    cli.hides(secret)
    here = cli.run(
        "token", "--subject", "bob", "--project", SMALL, "--ttl", "5m", "--secret-file", "-",
        stdin=secret,
    ).out.strip()  # fmt: skip
    there = cli.run(
        "token", "--kube", "-n", installation.namespace, "--subject", "bob", "--project", SMALL
    ).out.strip()
    for made in (here, there):
        assert Api(installation.url, made).call("GET", "/api/jobs").status == 200
        assert Api(installation.url, made).export(project_id="another").status == 403


@pytest.fixture
def by_kubernetes(installation: Installation, tmp_path: Path) -> CommandLine:
    """Logged in by way of Kubernetes: there is no address."""
    cli = CommandLine(tmp_path / "home")
    cli.run("login", "--kube", "-n", installation.namespace)
    return cli


def forwards(installation: Installation) -> int:
    """How many processes forward a port for a command line in the namespace."""
    commands = (file / "cmdline" for file in Path("/proc").iterdir() if file.name.isdecimal())
    found = 0
    for command in commands:
        try:
            words = command.read_bytes().split(b"\0")
        except OSError:
            continue
        # Others' tests have such processes, too.
        is_ours = f"--namespace={installation.namespace}".encode() in words
        found += is_ours and any(word.endswith(b"kubectl/forwarder.py") for word in words)
    return found


def test_two_commands_bring_a_checked_file_home(
    installation: Installation, by_kubernetes: CommandLine
) -> None:
    by_kubernetes.run("export", SMALL, "--download", ".")
    (file,) = files(by_kubernetes)
    by_kubernetes.run("check", file.name)
    assert SMALL in by_kubernetes.run("targets").out
    wait_for(lambda: forwards(installation) == 0, "the end of all forwards", 60)


def test_a_killed_command_leaves_no_forward(
    installation: Installation, by_kubernetes: CommandLine, held_project: HeldProject
) -> None:
    with held_project.locked(), by_kubernetes.started("export", held_project.name, "--wait") as it:
        job_id = first_line(it)
        assert forwards(installation) >= 1
        it.kill()
        it.communicate()
        wait_for(lambda: forwards(installation) == 0, "the end of all forwards", 60)
        by_kubernetes.run("cancel", job_id)


def test_a_wait_goes_on_through_a_restart_of_the_api(
    installation: Installation, by_kubernetes: CommandLine, held_project: HeldProject
) -> None:
    deployment = f"deploy/{installation.release.name}-api"
    with ExitStack() as stack:
        with held_project.locked():
            process = stack.enter_context(
                by_kubernetes.started("export", held_project.name, "--wait", "--json")
            )
            job_id = json.loads(first_line(process))["job_id"]
            held_project.wait_until_blocked(job_id)
            kubectl("-n", installation.namespace, "rollout", "restart", deployment)
            kubectl(
                "-n", installation.namespace, "rollout", "status", deployment, "--timeout=240s"
            )  # fmt: skip
        assert by_kubernetes.ended(process).events[-1]["status"] == "completed"
    # Or the next test finds one that is about to go.
    selector = "app.kubernetes.io/component=api"
    wait_for(
        lambda: (
            not any(
                "deletionTimestamp" in pod["metadata"]
                for pod in get("-n", installation.namespace, "pods", "-l", selector)["items"]
            )
        ),
        "the end of the old pods",
        240,
    )


@pytest.fixture
def issuer() -> Iterator[DeviceIssuer]:
    """A strict double of RFC 8628, on loopback."""
    made = DeviceIssuer()
    made.interval = 1
    yield made
    assert made.broken_rules == []
    made.close()


@pytest.fixture
def with_issuer(
    installation: Installation, issuer: DeviceIssuer, tmp_path: Path
) -> Iterator[LocalApi]:
    """An api of the installation's namespace that takes the issuer's tokens."""
    settings = {
        "BACKUPEXPORT_JWT_ALGORITHMS": "RS256",
        "BACKUPEXPORT_JWT_SECRET": "",
        "BACKUPEXPORT_JWT_JWKS_URL": f"{issuer.url}/keys",
        "BACKUPEXPORT_JWT_ISSUER": issuer.url,
        "BACKUPEXPORT_JWT_AUDIENCE": AUDIENCE,
        "BACKUPEXPORT_JWT_LEEWAY_SECONDS": "0",
        "BACKUPEXPORT_LOGIN_CLIENT_ID": CLIENT,
        "BACKUPEXPORT_LOGIN_SCOPES": "openid offline_access",
    }
    with local_api(installation.namespace, tmp_path, settings) as api:
        yield api


def logged_in(api: LocalApi, issuer: DeviceIssuer, folder: Path) -> CommandLine:
    """By the device flow; the first token is good for a short while only."""
    cli = CommandLine(folder)
    issuer.claims = {"projects": ["*"]}
    issuer.token_seconds = _SHORT
    with cli.started("login", api.url) as process:
        assert issuer.url in first_line(process)
        code = first_line(process).split()[-1]
        issuer.decide("approved", code)
        cli.ended(process)
    return cli


def test_a_login_at_an_issuer_lasts_longer_than_its_token(
    with_issuer: LocalApi, issuer: DeviceIssuer, held_project: HeldProject, tmp_path: Path
) -> None:
    cli = logged_in(with_issuer, issuer, tmp_path / "home")
    ends = issuer.token_ends
    issuer.token_seconds = 600
    with ExitStack() as stack:
        with held_project.locked():
            wait = stack.enter_context(cli.started("export", held_project.name, "--wait"))
            job_id = first_line(wait)
            held_project.wait_until_blocked(job_id)
            wait_for(lambda: time.time() > ends + 1, "the token's end", 2 * _SHORT)
        cli.ended(wait)
    grants = [form["grant_type"] for form in issuer.forms("/token")]
    assert "refresh_token" in grants
    cli.run("job", job_id)


def test_a_login_that_the_issuer_has_ended_is_told(
    with_issuer: LocalApi, issuer: DeviceIssuer, tmp_path: Path
) -> None:
    cli = logged_in(with_issuer, issuer, tmp_path / "home")
    ends = issuer.token_ends
    issuer.faults = [(400, {"error": "invalid_grant"})] * 5
    wait_for(lambda: time.time() > ends + 1, "the token's end", 2 * _SHORT)
    assert "backupexport login" in cli.run("jobs", code=3).err


@pytest.mark.parametrize("off_by", [_OFF, -_OFF])
def test_a_clock_that_is_five_minutes_off_is_no_hindrance(
    installation: Installation, off_by: int, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        f"import time\n_right = time.time\ntime.time = lambda: _right() + {off_by}\n"
    )
    off = CommandLine(
        tmp_path / "home",
        url=installation.url,
        # Less than the clock is off by, and more than any machine takes.
        token=token(installation, exp=int(time.time()) + _OFF * 9 // 10),
        modules=tmp_path,
    )
    off.run("export", SMALL, "--download", ".")
    assert len([it for it in off.folder.iterdir() if not it.name.startswith(".")]) == 1
    off.run("jobs")


@pytest.mark.parametrize("off_by", [_OFF, -_OFF])
def test_a_token_of_an_issuer_whose_clock_is_off_is_judged_by_the_api_alone(
    installation: Installation, off_by: int, tmp_path: Path
) -> None:
    now = int(time.time())
    ahead = token(installation, iat=now + off_by, exp=now + off_by + 30)
    cli = CommandLine(tmp_path / "home", url=installation.url, token=ahead)
    status = Api(installation.url, ahead).call("GET", "/api/jobs").status
    # Issued in the future, or over: it is the server who says so, and the command only tells it.
    assert status == 401
    assert "backupexport login" in cli.run("jobs", code=3).err
