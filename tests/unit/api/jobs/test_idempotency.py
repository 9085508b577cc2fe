"""Idempotency-Key: one key, one job."""

import asyncio
import uuid
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from backupexport_api.jobs import idempotency

Make = Callable[..., Any]


@pytest.fixture
def post(client: httpx.AsyncClient, bearer: Make) -> Make:
    """POST an export with a key (or several), as `sub`."""

    async def send(*keys: str | bytes, sub: str = "alice", **fields: Any) -> httpx.Response:
        headers = [*bearer(sub=sub).items(), *((idempotency.HEADER, key) for key in keys)]
        body = {"project_id": "proj-123", **fields}
        return await client.post("/api/backup/export", json=body, headers=headers)

    return send


async def test_the_same_again(post: Make, store: Any) -> None:
    first = await post("key-1", format="tar")
    again = await post("key-1", format="tar")
    assert first.status_code == again.status_code == 202
    assert first.json() == again.json()
    assert first.headers["Location"] == again.headers["Location"]
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert uuid.UUID(first.json()["data"]["job_id"]).version == 4
    assert len(store.manifests) == 1


async def test_the_same_in_other_words(post: Make, store: Any) -> None:
    await post("key-1")
    again = await post("key-1", format="sql", compress=True, storage_path=None)
    assert again.headers["Idempotency-Replayed"] == "true"


async def test_the_job_is_shown_as_it_is_now(post: Make, store: Any) -> None:
    job_id = (await post("key-1")).json()["data"]["job_id"]
    cancelled = store.resources[job_id]
    cancelled["spec"]["cancel"] = True
    store.put(cancelled, phase="Cancelled")
    again = await post("key-1")
    assert again.json()["data"] == {**again.json()["data"], "job_id": job_id, "status": "cancelled"}


@pytest.mark.parametrize(
    "other", [{"project_id": "other"}, {"format": "tar"}, {"notify_email": "a@example.com"}]
)
async def test_another_body(post: Make, store: Any, other: dict[str, Any]) -> None:
    await post("key-1")
    response = await post("key-1", **other)
    assert (response.status_code, response.json()["code"]) == (409, "idempotency_key_reused")
    assert len(store.manifests) == 1


async def test_keys_are_each_caller_s_own(post: Make, store: Any) -> None:
    jobs = {
        (await post(key, sub=sub)).json()["data"]["job_id"]
        for sub, key in [("alice", "1"), ("bob", "1"), ("alice", "2"), ("alice:1", ""[:0] + "1")]
    }
    assert len(jobs) == 4
    assert idempotency.job_id_of("a", "b:c") != idempotency.job_id_of("a:b", "c")


async def test_a_resource_that_somebody_else_made_is_no_replay(post: Make, store: Any) -> None:
    name = idempotency.job_id_of("alice", "key-1")
    store.put({"metadata": {"name": name}, "spec": {"projectId": "proj-123"}})
    assert (await post("key-1")).json()["code"] == "idempotency_key_reused"


async def test_ten_at_once(post: Make, store: Any) -> None:
    answers = await asyncio.gather(*(post("key-1") for _ in range(10)))
    assert len({answer.json()["data"]["job_id"] for answer in answers}) == 1
    assert sum("Idempotency-Replayed" not in answer.headers for answer in answers) == 1


async def test_after_the_project_has_gone(post: Make, store: Any) -> None:
    await post("key-1")
    store.projects.clear()
    assert (await post("key-1")).headers["Idempotency-Replayed"] == "true"
    assert (await post("key-2")).json()["code"] == "project_not_found"
    assert (await post()).json()["code"] == "project_not_found"


async def test_after_the_project_has_begun_to_want_recipients(post: Make, store: Any) -> None:
    await post("key-1")
    store.encrypted_projects.add("proj-123")
    assert (await post("key-1")).headers["Idempotency-Replayed"] == "true"
    assert (await post("key-2")).status_code == 400


@pytest.mark.parametrize("key", ["!", "~" * 255, "a:b/c", '"8e03978e"'])
async def test_good_keys(post: Make, key: str) -> None:
    assert (await post(key)).status_code == 202


@pytest.mark.parametrize(
    "keys", [[""], ["a b"], ["x" * 256], ["a\tb"], [b"\xc3\xa9"], ["one", "two"], ["one", "one"]]
)
async def test_bad_keys(post: Make, store: Any, keys: list[str | bytes]) -> None:
    response = await post(*keys)
    assert response.status_code == 400
    (error,) = response.json()["errors"]
    assert error["field"] == "Idempotency-Key"
    assert store.manifests == []
