"""Which tokens are good, and what is said about the others."""

import base64
import json
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import httpx
import jwt
import pytest
from backupexport_api.auth import authentication
from backupexport_api.http.problems import ProblemError
from token_issuers import AUDIENCE, Issuer

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


async def test_a_token_is_remembered_until_it_expires(
    client: httpx.AsyncClient, bearer: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, headers = time.time(), bearer(exp=int(time.time()) + 10)
    decode = mock.Mock(wraps=jwt.decode)
    monkeypatch.setattr(jwt, "decode", decode)
    for seconds, times_checked in ((0, 1), (1, 1), (14, 1), (16, 2)):
        monkeypatch.setattr(time, "time", lambda later=seconds: now + later)
        await client.get(URL, headers=headers)
        assert decode.call_count == times_checked


async def test_few_tokens_are_remembered(client: httpx.AsyncClient, bearer: Make) -> None:
    authenticator = client._transport.app.state.authenticator  # type: ignore[attr-defined]
    for number in range(authentication._MOST_REMEMBERED + 5):
        token = bearer(jti=str(number))["Authorization"].removeprefix("Bearer ")
        await authenticator.caller_of(token)
    assert len(authenticator._remembered) == authentication._MOST_REMEMBERED
    with pytest.raises(ProblemError):
        await authenticator.caller_of("a.b.c")
    assert len(authenticator._remembered) == authentication._MOST_REMEMBERED


@pytest.mark.parametrize(("length", "status"), [(1024, 404), (1025, 401)])
async def test_the_longest_subject(
    client: httpx.AsyncClient, token: Make, length: int, status: int
) -> None:
    assert await status_with(client, f"Bearer {token(sub='a' * length)}") == status


async def test_two_algorithms_each_with_its_own_keys(make_client: Make, token: Make) -> None:
    issuer = Issuer.of("ES256")
    environment = {"JWT_ALGORITHMS": "HS256,ES256", "JWT_PUBLIC_KEY": issuer.pem()}
    async with make_client(**environment, JWT_AUDIENCE=AUDIENCE) as client:
        assert await status_with(client, f"Bearer {token(aud=AUDIENCE)}") == 404
        assert await status_with(client, f"Bearer {issuer.token()}") == 404
        forged = Issuer("HS256", issuer.pem().encode()).token()
        assert await status_with(client, f"Bearer {forged}") == 401


async def test_a_rotation_of_pem_keys(make_client: Make) -> None:
    old, new, stranger = (Issuer.of("EdDSA", key_id) for key_id in ("old", "new", "stranger"))
    environment = {"JWT_ALGORITHMS": "EdDSA", "JWT_SECRET": "", "JWT_AUDIENCE": AUDIENCE}
    async with make_client(**environment, JWT_PUBLIC_KEY=old.pem() + new.pem()) as client:
        for issuer, status in ((old, 404), (new, 404), (stranger, 401)):
            assert await status_with(client, f"Bearer {issuer.token()}") == status


@pytest.mark.parametrize(
    ("wanted", "given", "status"),
    [
        # RFC 7515, 4.1.9: compared without case, and `application/` may be left out.
        ("at+jwt", "at+jwt", 404),
        ("at+jwt", "AT+JWT", 404),
        ("at+jwt", "application/at+jwt", 404),
        ("application/AT+jwt", "at+jwt", 404),
        ("example/at+jwt", "example/at+jwt", 404),
        ("at+jwt", "JWT", 401),
        ("at+jwt", None, 401),
        ("at+jwt", "", 401),
        ("at+jwt", "logout+jwt", 401),
        ("at+jwt", "example/at+jwt", 401),
        ("at+jwt", " at+jwt", 401),
        ("at+jwt", 7, 401),
        ("at+jwt", ["at+jwt"], 401),
        # Not required unless configured.
        ("", None, 404),
        ("", 7, 404),
        ("", "logout+jwt", 404),
    ],
)
async def test_the_type_that_is_asked_for(
    make_client: Make, secret: str, wanted: str, given: Any, status: int
) -> None:
    header = {"alg": "HS256"} if given is None else {"alg": "HS256", "typ": given}
    token = Issuer("HS256", secret.encode()).token(header)
    async with make_client(JWT_TYPE=wanted) as client:
        assert await status_with(client, f"Bearer {token}") == status


@pytest.mark.parametrize("leeway", [0, 5, 300])
@pytest.mark.parametrize(
    ("claim", "direction"),
    # `iat` is of no use to a check but this: a token of the future is a mistake.
    [("exp", -1), ("nbf", 1), ("iat", 1)],
)
async def test_how_far_clocks_may_differ(
    make_client: Make, token: Make, leeway: int, claim: str, direction: int
) -> None:
    async with make_client(JWT_LEEWAY_SECONDS=str(leeway)) as client:
        for seconds, status in ((leeway - 2, 404), (leeway + 4, 401)):
            made = token(**{claim: int(time.time()) + direction * seconds})
            assert await status_with(client, f"Bearer {made}") == status, seconds
