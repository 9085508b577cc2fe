"""backupexport-token."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import httpx
import jwt
import pytest
from backupexport_api.auth.token_command import main

Make = Callable[..., Any]


@pytest.fixture
def claims_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], secret: Any
) -> Any:
    monkeypatch.setenv("BACKUPEXPORT_JWT_SECRET", secret)

    def run(*arguments: Any, projects: Sequence[str] = ("--project=a",)) -> Any:
        assert main(["--subject", "alice", *projects, *arguments]) == 0
        token = capsys.readouterr().out.strip()
        return jwt.decode(token, secret, algorithms=["HS256"], options={"verify_aud": False})

    return run


def test_plain(claims_of: Make) -> None:
    claims = claims_of()
    assert set(claims) == {"sub", "iat", "exp", "projects"}
    assert claims["sub"] == "alice"
    assert claims["exp"] - claims["iat"] == 3600
    assert abs(claims["iat"] - time.time()) < 5


@pytest.mark.parametrize(
    ("projects", "granted"),
    [
        (["--project", "a", "--project", "b"], ["a", "b"]),
        (["--project=--help"], ["--help"]),
        (["--all-projects"], ["*"]),
    ],
)
def test_the_projects(claims_of: Make, projects: Sequence[str], granted: Sequence[str]) -> None:
    assert claims_of(projects=projects)["projects"] == granted


@pytest.mark.parametrize(
    ("projects", "words"),
    [
        ([], "one of the arguments --project --all-projects is required"),
        (["--project", "a", "--all-projects"], "not allowed with"),
        # A shell writes file names there, or nothing at all.
        (["--project", "*"], "must be 1 to 100 characters"),
        (["--project", ""], "must be 1 to 100 characters"),
        (["--project", "a,b"], "must be 1 to 100 characters"),
        (["--project", "a\n"], "must be 1 to 100 characters"),
    ],
)
def test_nobody_gets_a_token_without_saying_for_what(
    claims_of: Make, capsys: pytest.CaptureFixture[str], projects: Sequence[str], words: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        claims_of(projects=projects)
    shown = capsys.readouterr()
    assert (ended.value.code, shown.out) == (2, "")
    assert words in shown.err


def test_the_type_that_the_api_asks_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], secret: str
) -> None:
    monkeypatch.setenv("BACKUPEXPORT_JWT_SECRET", secret)
    monkeypatch.setenv("BACKUPEXPORT_JWT_TYPE", "at+jwt")
    assert main(["--subject", "alice", "--all-projects"]) == 0
    assert jwt.get_unverified_header(capsys.readouterr().out.strip())["typ"] == "at+jwt"


@pytest.mark.parametrize(
    ("arguments", "claim", "value"),
    [
        (["--issuer", "us"], "iss", "us"),
        (["--audience", "exports"], "aud", "exports"),
    ],
)
def test_claims(claims_of: Make, arguments: Any, claim: Any, value: Any) -> None:
    assert claims_of(*arguments)[claim] == value


@pytest.mark.parametrize(
    ("ttl", "seconds"), [("30s", 30), ("15m", 900), ("1h", 3600), ("7d", 604800)]
)
def test_ttl(claims_of: Make, ttl: Any, seconds: Any) -> None:
    claims = claims_of("--ttl", ttl)
    assert claims["exp"] - claims["iat"] == seconds


@pytest.mark.parametrize("ttl", ["0s", "-1h", "1", "h", "1w", "1.5h"])
def test_a_bad_ttl(claims_of: Make, ttl: Any) -> None:
    with pytest.raises(SystemExit):
        claims_of(f"--ttl={ttl}")


def test_the_settings_of_the_api_are_the_defaults(
    claims_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKUPEXPORT_JWT_ISSUER", "us")
    monkeypatch.setenv("BACKUPEXPORT_JWT_PROJECTS_CLAIM", "grants")
    claims = claims_of()
    assert (claims["iss"], claims["grants"]) == ("us", ["a"])


def test_no_secret(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("BACKUPEXPORT_JWT_SECRET", raising=False)
    assert main(["--subject", "alice", "--all-projects"]) == 2
    assert "BACKUPEXPORT_JWT_SECRET" in capsys.readouterr().err


def test_only_algorithms_with_a_public_key(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("BACKUPEXPORT_JWT_SECRET", raising=False)
    monkeypatch.setenv("BACKUPEXPORT_JWT_ALGORITHMS", "RS256")
    monkeypatch.setenv("BACKUPEXPORT_JWT_JWKS_URL", "https://issuer.example/keys")
    monkeypatch.setenv("BACKUPEXPORT_JWT_AUDIENCE", "exports")
    assert main(["--subject", "alice", "--all-projects"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(
        "backupexport-token: BACKUPEXPORT_JWT_ALGORITHMS does not accept HS256, "
    )
    assert "ask the issuer" in shown.err


async def test_the_api_takes_it(
    claims_of: Make,
    client: httpx.AsyncClient,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert main(["--subject", "bob", "--all-projects"]) == 0
    token = capsys.readouterr().out.strip()
    response = await client.get(
        "/api/jobs/0b7cf3b6-6f2b-4c55-8f6c-0f6a3f0a7f10",
        headers={"Authorization": f"Bearer {token}"},
    )
    assert response.status_code == 404
