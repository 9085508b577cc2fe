"""One caller never sees, lists, cancels or infers another's jobs."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

Make = Callable[..., Any]

NOBODYS = "0b7cf3b6-6f2b-4c55-8f6c-0f6a3f0a7f10"
STATUSES = (None, "pending", "running", "completed", "failed", "cancelled")


@pytest.fixture
def as_caller(make_client: Make, bearer: Make) -> Make:
    """A caller that may use `projects` alone."""

    def make(sub: str, *projects: str) -> Make:
        headers = bearer(sub=sub, projects=list(projects))

        async def call(method: str, path: str, **options: Any) -> httpx.Response:
            async with make_client(EXPORT_RATE_LIMIT="1000/minute") as client:
                response: httpx.Response = await client.request(
                    method, path, headers={**headers, **options.pop("headers", {})}, **options
                )
                return response

        return call

    return make


@pytest.fixture
def alice(as_caller: Make) -> Make:
    caller: Make = as_caller("alice", "proj-123")
    return caller


@pytest.fixture
def mallory(as_caller: Make) -> Make:
    caller: Make = as_caller("mallory", "other")
    return caller


async def exported(caller: Make, project_id: str, **headers: str) -> str:
    response = await caller(
        "POST", "/api/backup/export", json={"project_id": project_id}, headers=headers
    )
    assert response.status_code == 202, response.text
    job_id: str = response.json()["data"]["job_id"]
    return job_id


def without_request_id(response: httpx.Response) -> tuple[Any, ...]:
    """All of an answer but what differs from one request to the next."""
    body = response.json()
    assert body.pop("request_id") == response.headers["X-Request-ID"]
    varying = ("x-request-id", "ratelimit-reset", "x-ratelimit-reset")
    headers = {name: value for name, value in response.headers.items() if name not in varying}
    return response.status_code, headers, body


@pytest.mark.parametrize(("method", "below"), [("GET", ""), ("POST", "/cancel")])
async def test_a_hidden_job_answers_like_none(
    alice: Make, mallory: Make, store: Any, method: str, below: str
) -> None:
    job_id = await exported(alice, "proj-123")
    before = json.dumps(store.resources[job_id])
    hidden = await mallory(method, f"/api/jobs/{job_id}{below}")
    missing = await mallory(method, f"/api/jobs/{NOBODYS}{below}")
    nonsense = await mallory(method, f"/api/jobs/nonsense{below}")
    assert hidden.status_code == 404
    assert without_request_id(hidden) == without_request_id(missing)
    assert without_request_id(hidden) == without_request_id(nonsense)
    assert json.dumps(store.resources[job_id]) == before
    assert (await alice("GET", f"/api/jobs/{job_id}")).json()["data"]["status"] == "pending"


async def test_a_finished_hidden_job_is_no_conflict(alice: Make, mallory: Make, store: Any) -> None:
    """409 would tell that there is one."""
    job_id = await exported(alice, "proj-123")
    store.put(store.resources[job_id], phase="Succeeded")
    assert (await alice("POST", f"/api/jobs/{job_id}/cancel")).status_code == 409
    assert (await mallory("POST", f"/api/jobs/{job_id}/cancel")).status_code == 404


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("project_id", [None, "proj-123", "other", "nobody-knows-it"])
async def test_no_list_holds_it(
    alice: Make, mallory: Make, store: Any, status: str | None, project_id: str | None
) -> None:
    hidden = {await exported(alice, "proj-123") for _ in range(3)}
    own = {await exported(mallory, "other") for _ in range(3)}
    phases = ("Running", "Succeeded", "Failed")
    for jobs in (hidden, own):
        for phase, job_id in zip(phases, sorted(jobs), strict=True):
            store.put(store.resources[job_id], phase=phase)
    query = {"status": status, "project_id": project_id}
    query = {name: value for name, value in query.items() if value is not None}
    response = await mallory("GET", "/api/jobs", params=query)
    assert response.status_code == 200
    assert {job["job_id"] for job in response.json()["data"]} <= own
    assert not any(job_id in response.text for job_id in hidden)
    assert response.json()["next_cursor"] is None


async def test_another_s_project_lists_like_one_that_does_not_exist(
    alice: Make, mallory: Make
) -> None:
    await exported(alice, "proj-123")
    there = await mallory("GET", "/api/jobs", params={"project_id": "proj-123"})
    nowhere = await mallory("GET", "/api/jobs", params={"project_id": "nobody-knows-it"})
    assert there.content == nowhere.content == b'{"data":[],"next_cursor":null}'


async def test_another_s_cursor_leads_to_one_s_own_jobs(alice: Make, mallory: Make) -> None:
    own = [await exported(mallory, "other") for _ in range(2)]
    hidden = [await exported(alice, "proj-123") for _ in range(4)]
    page = (await alice("GET", "/api/jobs", params={"limit": 1})).json()
    seen = []
    while page["next_cursor"]:
        cursor = page["next_cursor"]
        for limit in (1, 200):
            query = {"cursor": cursor, "limit": limit}
            told = await mallory("GET", "/api/jobs", params=query)
            assert not any(job_id in told.text for job_id in hidden)
            seen += [job["job_id"] for job in told.json()["data"]]
        page = (await alice("GET", "/api/jobs", params={"limit": 1, "cursor": cursor})).json()
    assert set(seen) == set(own)


async def test_no_cursor_tells_how_many_hidden_jobs_there_are(alice: Make, mallory: Make) -> None:
    own = [await exported(mallory, "other") for _ in range(2)]
    for _ in range(5):
        await exported(alice, "proj-123")
    page = (await mallory("GET", "/api/jobs", params={"limit": 2})).json()
    assert {job["job_id"] for job in page["data"]} == set(own)
    assert page["next_cursor"] is None


async def test_a_forbidden_project_is_403_whether_it_exists_or_not(
    mallory: Make, store: Any
) -> None:
    store.failure = AssertionError("looked up")
    answers = [
        await mallory("POST", "/api/backup/export", json={"project_id": project_id})
        for project_id in ("proj-123", "nobody-knows-it")
    ]
    assert [answer.status_code for answer in answers] == [403, 403]
    first, second = (
        {name: value for name, value in answer.json().items() if name != "request_id"}
        for answer in answers
    )
    assert first == second


async def test_another_s_idempotency_key_is_no_replay(
    alice: Make, as_caller: Make, store: Any
) -> None:
    key = {"Idempotency-Key": "the-same"}
    first = await exported(alice, "proj-123", **key)
    colleague = as_caller("bob", "proj-123")
    response = await colleague(
        "POST", "/api/backup/export", json={"project_id": "proj-123"}, headers=key
    )
    assert response.status_code == 202
    assert "Idempotency-Replayed" not in response.headers
    assert response.json()["data"]["job_id"] != first
    assert len(store.manifests) == 2


@pytest.mark.parametrize("key", ["the-same", "another"])
async def test_a_key_tells_nothing_of_a_hidden_job(alice: Make, mallory: Make, key: str) -> None:
    await exported(alice, "proj-123", **{"Idempotency-Key": "the-same"})
    response = await mallory(
        "POST",
        "/api/backup/export",
        json={"project_id": "proj-123"},
        headers={"Idempotency-Key": key},
    )
    assert response.status_code == 403
    assert "Idempotency-Replayed" not in response.headers


async def test_a_key_does_not_outlive_the_right_to_its_project(
    alice: Make, as_caller: Make
) -> None:
    key = {"Idempotency-Key": "the-same"}
    job_id = await exported(alice, "proj-123", **key)
    demoted = as_caller("alice", "other")
    response = await demoted(
        "POST", "/api/backup/export", json={"project_id": "proj-123"}, headers=key
    )
    assert response.status_code == 403
    assert job_id not in response.text


async def test_metrics_name_no_project_no_job_and_no_caller(alice: Make, mallory: Make) -> None:
    job_id = await exported(alice, "proj-123")
    for path in (f"/api/jobs/{job_id}", f"/api/jobs/{NOBODYS}", f"/nowhere/{job_id}"):
        await mallory("GET", path)
    await mallory("GET", "/api/jobs", params={"project_id": "proj-123"})
    told = (await alice("GET", "/metrics")).text
    assert "backupexport" in told
    for secret in (job_id, NOBODYS, "proj-123", "other", "alice", "mallory"):
        assert f'"{secret}"' not in told
        assert job_id not in told
