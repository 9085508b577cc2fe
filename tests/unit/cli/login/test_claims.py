"""What a token says itself, and what people are shown of it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from backupexport_cli.login import summary
from backupexport_cli.login.claims import Claims, claims_of
from backupexport_cli.login.contexts import Context
from token_issuers import Issuer, segment

ISSUER = Issuer.of("HS256")
NOW = datetime(2026, 1, 29, 15, 30, tzinfo=UTC)
CONTEXT = Context("web", "https://exports.example")


def token(**claims: Any) -> str:
    return ISSUER.token(claims=claims)


def test_the_claims() -> None:
    found = claims_of(
        token(sub="alice", iss="i", aud="exports", projects=["a", "b"], exp=NOW.timestamp())
    )
    assert found == Claims("alice", "i", ("exports",), ("a", "b"), NOW)
    assert claims_of(token(aud=["a", 1, "b"], projects="*")) == Claims(
        audiences=("a", "b"), projects=("*",)
    )


@pytest.mark.parametrize("exp", [True, "1", 10**40, -(10**40), [], None])
def test_odd_claims_are_none(exp: Any) -> None:
    found = claims_of(token(sub=1, iss=[], aud={}, projects={}, exp=exp))
    assert found == Claims()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "opaque",
        "a.b.c",
        "..",
        f"{segment({'typ': 'JWT'})}.{segment({})}.x",
        f"{segment({'alg': 'RS256'})}.{segment([])}.x",
        f"{segment({'alg': 'RS256'})}.{segment({})}.",
        f"{segment({'alg': 'RS256'})}.{segment(b'[' * 40_000)}.x",
        "é.é.é",
    ],
)
def test_what_is_no_jwt(text: str) -> None:
    assert claims_of(text) is None


def test_what_people_see() -> None:
    good = token(sub="a\x1b[2Jb", iss="i", projects=["p"], exp=(NOW.timestamp() + 3600))
    lines = summary.lines(CONTEXT, good, NOW)
    assert lines[0] == "Server    https://exports.example"
    assert "Projects  p" in lines
    assert "Expires   2026-01-29 16:30 UTC (in 1 h, by this machine's clock)" in lines
    assert "\x1b" not in "".join(lines)
    assert "1 h ago" in summary.lines(CONTEXT, good, NOW + timedelta(hours=2))[-1]


@pytest.mark.parametrize(
    ("projects", "shown"),
    [(["*"], "all"), ([], "none"), (None, "the server's settings decide"),
     ([f"p{number}" for number in range(30)], "p19 and 10 more")],
)  # fmt: skip
def test_the_projects(projects: Any, shown: str) -> None:
    claims = {"sub": "a"} if projects is None else {"projects": projects}
    assert shown in "\n".join(summary.lines(CONTEXT, token(**claims), NOW))


def test_what_programs_see() -> None:
    assert summary.document(CONTEXT, "opaque")["expires_at"] is None
    found = summary.document(CONTEXT, token(sub="x", exp=NOW.timestamp()))
    assert found["expires_at"] == "2026-01-29T15:30:00.000Z"
    assert found["projects"] is None
