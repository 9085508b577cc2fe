"""GET /api/client-configuration: where to get a token, for who has none."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

Make = Callable[..., Any]

PATH = "/api/client-configuration"
LOGIN = {"LOGIN_CLIENT_ID": "backupexport-cli", "JWT_ISSUER": "https://issuer.example/realms/a/"}


async def test_where_people_bring_their_tokens(client: httpx.AsyncClient) -> None:
    response = await client.get(PATH)
    assert response.status_code == 200
    data = response.json()["data"]
    version = (await client.get("/openapi.json")).json()["info"]["version"]
    assert data == {"login": None, "downloads": False, "version": version}


async def test_where_the_issuer_has_a_client_for_the_command_line(make_client: Make) -> None:
    async with make_client(**LOGIN) as client:
        data = (await client.get(PATH)).json()["data"]
    assert data["login"] == {
        # To the letter: what the tokens' iss is compared with.
        "issuer": "https://issuer.example/realms/a/",
        "client_id": "backupexport-cli",
        "scopes": ["openid"],
        "audience": None,
    }


async def test_all_that_can_be_said_of_a_login(make_client: Make) -> None:
    said = {
        "LOGIN_ISSUER": "https://login.example",
        "LOGIN_SCOPES": " openid  offline_access openid",
        "LOGIN_AUDIENCE": "https://exports.example",
    }
    async with make_client(**LOGIN | said) as client:
        data = (await client.get(PATH)).json()["data"]
    assert data["login"] == {
        "issuer": "https://login.example",
        "client_id": "backupexport-cli",
        "scopes": ["openid", "offline_access"],
        "audience": "https://exports.example",
    }


async def test_whether_there_are_downloads(make_client: Make, tmp_path: Path) -> None:
    async with make_client(EXPORTS_DIRECTORY=str(tmp_path)) as client:
        assert (await client.get(PATH)).json()["data"]["downloads"] is True


async def test_no_secret_is_in_it(make_client: Make, secret: str) -> None:
    async with make_client(**LOGIN, LINK_SECRET="l" * 32) as client:
        text = (await client.get(PATH)).text
    assert secret not in text
    assert "l" * 32 not in text


async def test_it_needs_no_token_and_takes_any(client: httpx.AsyncClient) -> None:
    without = await client.get(PATH)
    bad = await client.get(PATH, headers={"Authorization": "Bearer nonsense"})
    assert (bad.status_code, bad.content) == (200, without.content)
    assert "RateLimit-Limit" not in without.headers


async def test_anybody_may_keep_it_and_ask_whether_it_is_still_so(make_client: Make) -> None:
    async with make_client() as client:
        first = await client.get(PATH)
        assert first.headers["Cache-Control"] == "public, max-age=300"
        etag = first.headers["ETag"]
        for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
            again = await client.get(PATH, headers={"If-None-Match": known})
            assert (again.status_code, again.content) == (304, b"")
            assert again.headers["ETag"] == etag
            assert again.headers["Cache-Control"] == "public, max-age=300"
        assert (await client.get(PATH, headers={"If-None-Match": '"other"'})).status_code == 200
    async with make_client() as replica:
        assert (await replica.get(PATH)).headers["ETag"] == etag
    async with make_client(**LOGIN) as changed:
        response = await changed.get(PATH, headers={"If-None-Match": etag})
        assert response.status_code == 200
        assert response.headers["ETag"] != etag


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_it_is_only_read(client: httpx.AsyncClient, method: str) -> None:
    assert (await client.head(PATH)).status_code == 200
    response = await client.request(method, PATH)
    assert response.status_code == 405
    assert set(response.headers["Allow"].split(", ")) == {"GET", "HEAD"}
