"""Which projects a token is good for."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from backupexport_api.auth.claims import BadClaimsError, ProjectAccess

Make = Callable[..., Any]


@pytest.mark.parametrize(
    ("claims", "without", "allowed"),
    [
        ({}, "all", True),
        ({}, "none", False),
        ({"projects": ["proj-123"]}, "none", True),
        ({"projects": ["other"]}, "all", False),
        ({"projects": []}, "all", False),
        ({"projects": ["*"]}, "none", True),
        ({"projects": "*"}, "none", True),
        ({"projects": ["proj-*"]}, "all", False),
        ({"projects": ["PROJ-123"]}, "all", False),
    ],
)
def test_access(claims: dict[str, Any], without: Any, allowed: Any) -> None:
    assert ProjectAccess.of(claims, "projects", without).allows("proj-123") is allowed


@pytest.mark.parametrize("value", [None, "proj-123", 1, [1], ["proj-123", None], {"*": 1}, True])
def test_a_malformed_claim_grants_nothing(value: Any) -> None:
    with pytest.raises(BadClaimsError):
        ProjectAccess.of({"projects": value}, "projects", "all")


async def test_post_for_another_project(
    client: httpx.AsyncClient, bearer: Make, store: Any
) -> None:
    headers = bearer(projects=["other"])
    for project in ("proj-123", "unknown"):
        response = await client.post(
            "/api/backup/export", json={"project_id": project}, headers=headers
        )
        assert (response.status_code, response.json()["code"]) == (403, "project_forbidden")
    assert store.manifests == []


async def test_another_project_s_job_is_not_there(
    client: httpx.AsyncClient, bearer: Make, post: Make
) -> None:
    location = (await post()).headers["Location"]
    hidden = await client.get(location, headers=bearer(projects=["other"]))
    missing = await client.get(
        "/api/jobs/00000000-0000-4000-8000-000000000000", headers=bearer(projects=["other"])
    )
    assert hidden.status_code == missing.status_code == 404
    assert {**hidden.json(), "request_id": ""} == {**missing.json(), "request_id": ""}
    assert (await client.get(location, headers=bearer(projects=["proj-123"]))).status_code == 200


@pytest.mark.parametrize(
    ("environment", "status"), [({}, 403), ({"TOKENS_WITHOUT_PROJECTS": "all"}, 202)]
)
async def test_a_token_without_the_claim(
    make_client: Make, bearer: Make, environment: dict[str, str], status: int
) -> None:
    async with make_client(**environment) as client:
        body = {"project_id": "proj-123"}
        headers = bearer(projects=None)
        made = await client.post("/api/backup/export", json=body, headers=headers)
        assert made.status_code == status
        others = await client.post("/api/backup/export", json=body, headers=bearer())
        seen = (await client.get("/api/jobs", headers=headers)).json()["data"]
        one = await client.get(others.headers["Location"], headers=headers)
        assert (len(seen), one.status_code) == ((0, 404) if status == 403 else (2, 200))


async def test_the_claim_s_name_is_a_setting(make_client: Make, bearer: Make) -> None:
    async with make_client(JWT_PROJECTS_CLAIM="https://example.com/projects") as client:

        async def status(**claims: Any) -> Any:
            response = await client.post(
                "/api/backup/export", json={"project_id": "proj-123"}, headers=bearer(**claims)
            )
            return response.status_code

        assert await status(projects=None) == 403
        assert await status(projects=["*"]) == 403
        assert await status(**{"https://example.com/projects": ["proj-123"]}) == 202
