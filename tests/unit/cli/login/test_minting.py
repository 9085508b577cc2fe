"""Tokens that are made here: the api takes them, as those of its own program."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from backupexport_api.auth import token_command
from backupexport_api.auth.authentication import Authenticator
from backupexport_api.auth.settings import JwtSettings
from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.login.minting import Grant, grant_of, mint, pod_command
from token_issuers import Issuer

SECRET = "a-secret-of-the-tests-" + "0123456789" * 3
HOUR = timedelta(hours=1)


def test_the_api_takes_it() -> None:
    grant = grant_of("alice", ["p-1"], "1h", every_project=False, issuer="i", audience="a")
    token = mint(grant, SECRET, datetime.now(UTC))
    settings = JwtSettings(jwt_secret=SECRET, jwt_issuer="i", jwt_audience="a")
    caller = asyncio.run(Authenticator(settings).caller_of(token))
    assert caller.subject == "alice"
    assert caller.access.allows("p-1")
    assert not caller.access.allows("p-2")


@pytest.mark.parametrize("minutes", [-5, 5])
def test_five_minutes_between_two_clocks_do_not_matter(minutes: int) -> None:
    token = mint(Grant("a", ("*",), HOUR), SECRET, datetime.now(UTC) + timedelta(minutes=minutes))
    caller = asyncio.run(Authenticator(JwtSettings(jwt_secret=SECRET)).caller_of(token))
    assert caller.access.every_project


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"subject": " "}, "subject"),
        ({"subject": "x" * 1025}, "subject"),
        ({"projects": ["a b"]}, "project's id must be"),
        ({"projects": ["p\n"]}, "project's id must be"),
        ({"projects": []}, "for every project"),
        ({"every_project": True}, "for every project"),
        *(({"ttl": ttl}, "how long") for ttl in ("", "0s", "1", "1w", "-1h", "1h ", "1000000s")),
    ],
)
def test_what_is_refused(changes: dict[str, Any], words: str) -> None:
    asked = {"subject": "a", "projects": ["p"], "ttl": "1h", "every_project": False, **changes}
    with pytest.raises(CliError, match=f"(?i){words}") as caught:
        grant_of(**asked)
    assert caught.value.exit_code is ExitCode.USAGE


@pytest.mark.parametrize("secret", ["", "x" * 31, Issuer.of("ES256").pem()])
def test_an_unfit_secret(secret: str) -> None:
    with pytest.raises(CliError, match="secret") as caught:
        mint(Grant("a", ("*",), HOUR), secret, datetime.now(UTC))
    assert not secret or secret not in caught.value.message + caught.value.advice


@pytest.mark.parametrize(
    ("grant", "projects"),
    [
        (Grant("alice", ("*",), HOUR), ["*"]),
        (Grant("--help", ("--help", "-p"), HOUR, "i", "a"), ["--help", "-p"]),
    ],
)
def test_the_program_in_the_pod_understands_it(
    grant: Grant,
    projects: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("BACKUPEXPORT_JWT_SECRET", SECRET)
    program, *arguments = pod_command(grant, "90m")
    assert program == "backupexport-token"
    assert token_command.main(arguments) == 0
    token = capsys.readouterr().out.strip()
    claims = jwt.decode(token, SECRET, algorithms=["HS256"], audience=grant.audience)
    assert claims["sub"] == grant.subject
    assert claims["projects"] == projects
    assert claims["exp"] - claims["iat"] == 5400
