"""Which tokens are good, and what is said about the others."""

import base64
import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

Make = Callable[..., Any]

URL = "/api/jobs/0b7cf3b6-6f2b-4c55-8f6c-0f6a3f0a7f10"


async def status_with(client: httpx.AsyncClient, authorization: Any) -> Any:
    headers = {} if authorization is None else {"Authorization": authorization}
    response = await client.get(URL, headers=headers)
    if response.status_code == 401:
        assert response.headers["WWW-Authenticate"].startswith("Bearer ")
        assert response.headers["Content-Type"] == "application/problem+json"
        assert "." not in (authorization or "") or authorization not in response.text
    return response.status_code


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_a_good_token(client: httpx.AsyncClient, token: Make, scheme: Any) -> None:
    assert await status_with(client, f"{scheme} {token()}") == 404


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": None},
        {"exp": int(time.time()) - 60},
        {"exp": "soon"},
        {"exp": float("inf")},
        {"sub": None},
        {"sub": ""},
        {"sub": "  "},
        {"sub": "\ud800"},
        {"nbf": int(time.time()) + 600},
        {"key": "another-secret-of-the-tests-0123456789ab"},
        {"algorithm": "HS384"},
        {"algorithm": "HS512"},
        {"algorithm": "none", "key": None},
        {"projects": "proj-123"},
        {"projects": None, "exp": 0},
        {"projects": [1]},
        {"projects": {"proj-123": True}},
    ],
)
async def test_a_bad_token(client: httpx.AsyncClient, token: Make, claims: dict[str, Any]) -> None:
    assert await status_with(client, f"Bearer {token(**claims)}") == 401


def _segment(value: Any) -> Any:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


async def test_a_subject_that_is_not_text(client: httpx.AsyncClient, token: Make) -> None:
    header, _, _ = token().split(".")
    payload = _segment({"sub": 7, "exp": int(time.time()) + 600})
    assert await status_with(client, f"Bearer {header}.{payload}.AAAA") == 401


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "HS256", "RS256", "ES256"])
async def test_the_token_does_not_choose_its_algorithm(
    client: httpx.AsyncClient, token: Make, algorithm: Any
) -> None:
    _, payload, signature = token().split(".")
    header = _segment({"alg": algorithm, "typ": "JWT"})
    for end in ("", signature if algorithm != "HS256" else "AAAA"):
        assert await status_with(client, f"Bearer {header}.{payload}.{end}") == 401


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer a",
        "Bearer a.b.c",
        "Bearer ..",
        "Basic YWxpY2U6aHVudGVyMg==",
        "Bearer " + "." * 5000,
        "Bearer " + base64.urlsafe_b64encode(b"[" * 30000).decode() + ".e30.AAAA",
    ],
)
async def test_no_token(client: httpx.AsyncClient, authorization: Any) -> None:
    assert await status_with(client, authorization) == 401


async def test_a_token_for_another_payload(client: httpx.AsyncClient, token: Make) -> None:
    header, _, signature = token().split(".")
    _, payload, _ = token(sub="bob").split(".")
    assert await status_with(client, f"Bearer {header}.{payload}.{signature}") == 401


async def test_the_challenge_says_why(client: httpx.AsyncClient, bearer: Make) -> None:
    expired = await client.get(URL, headers=bearer(exp=int(time.time()) - 60))
    assert 'error="invalid_token"' in expired.headers["WWW-Authenticate"]
    assert "expired" in expired.json()["detail"]
    missing = await client.get(URL)
    assert missing.headers["WWW-Authenticate"] == 'Bearer realm="backupexport"'
    assert missing.json()["code"] == "token_missing"


@pytest.mark.parametrize(
    ("claims", "status"),
    [
        ({"iss": "us", "aud": "exports"}, 404),
        ({"iss": "us", "aud": ["other", "exports"]}, 404),
        ({"iss": "them", "aud": "exports"}, 401),
        ({"iss": "us", "aud": "other"}, 401),
        ({"aud": "exports"}, 401),
        ({"iss": "us"}, 401),
    ],
)
async def test_issuer_and_audience(
    make_client: Make, token: Make, claims: dict[str, Any], status: Any
) -> None:
    async with make_client(JWT_ISSUER="us", JWT_AUDIENCE="exports") as client:
        assert await status_with(client, f"Bearer {token(**claims)}") == status


async def test_issuer_and_audience_are_not_checked_unless_configured(
    client: httpx.AsyncClient, token: Make
) -> None:
    assert await status_with(client, f"Bearer {token(iss='them', aud='other')}") == 404


async def test_tokens_are_never_logged(
    client: httpx.AsyncClient, token: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    text = token()
    await client.get(URL, headers={"Authorization": f"Bearer {text}"})
    await client.get(URL, headers={"Authorization": f"Bearer {text}x"})
    assert text not in caplog.text
