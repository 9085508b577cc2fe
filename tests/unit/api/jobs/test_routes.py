"""GET /api/jobs and POST /api/jobs/{job_id}/cancel."""

import uuid
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from backupexport_api.kube.errors import StoreUnavailableError

Make = Callable[..., Any]


@pytest.fixture
def put(store: Any) -> Make:
    """Have a job; the id is returned."""

    def make(project_id: str = "proj-123", phase: str | None = None, **spec: Any) -> str:
        name = str(uuid.uuid4())
        status = {"phase": phase} if phase else {}
        store.put({"metadata": {"name": name}, "spec": {"projectId": project_id, **spec}}, **status)
        return name

    return make


@pytest.fixture
def get(client: httpx.AsyncClient, bearer: Make) -> Make:
    """GET the list with a query, as a caller with these claims."""

    async def send(query: Any = None, **claims: Any) -> httpx.Response:
        return await client.get("/api/jobs", params=query, headers=bearer(**claims))

    return send


@pytest.fixture
def cancel(client: httpx.AsyncClient, bearer: Make) -> Make:
    async def send(job_id: str, **claims: Any) -> httpx.Response:
        return await client.post(f"/api/jobs/{job_id}/cancel", headers=bearer(**claims))

    return send


async def test_the_list_has_what_each_job_says_of_itself(
    client: httpx.AsyncClient, bearer: Make, get: Make, put: Make
) -> None:
    ids = {put(), put(phase="Running"), put("other", phase="Failed")}
    answer = (await get()).json()
    assert set(answer) == {"data", "next_cursor"}
    assert answer["next_cursor"] is None
    assert {job["job_id"] for job in answer["data"]} == ids
    for job in answer["data"]:
        alone = await client.get(f"/api/jobs/{job['job_id']}", headers=bearer())
        assert alone.json()["data"] == job


async def test_an_empty_list(get: Make) -> None:
    response = await get()
    assert response.status_code == 200
    assert response.json() == {"data": [], "next_cursor": None}


async def test_fifty_jobs_unless_asked_otherwise(get: Make, put: Make) -> None:
    made = {put() for _ in range(60)}
    first = (await get()).json()
    assert len(first["data"]) == 50
    second = (await get({"cursor": first["next_cursor"]})).json()
    assert second["next_cursor"] is None
    assert {job["job_id"] for job in first["data"] + second["data"]} == made
    assert len((await get({"limit": 7})).json()["data"]) == 7


async def test_filters(get: Make, put: Make) -> None:
    put("other", phase="Running")
    put(phase="Succeeded")
    wanted = put(phase="Running")
    found = (await get({"project_id": "proj-123", "status": "running"})).json()["data"]
    assert [job["job_id"] for job in found] == [wanted]


@pytest.mark.parametrize(
    ("query", "field", "code"),
    [
        ("limit=0", "limit", "too_small"),
        ("limit=201", "limit", "too_large"),
        ("limit=ten", "limit", "not_an_integer"),
        ("limit=", "limit", "not_an_integer"),
        ("limit=" + "9" * 5000, "limit", "not_an_integer"),
        ("status=done", "status", "not_allowed"),
        ("status=Running", "status", "not_allowed"),
        ("project_id=a/b", "project_id", "project_id_invalid"),
        ("project_id=", "project_id", "project_id_invalid"),
        ("project_id=a%0A", "project_id", "project_id_invalid"),
        ("cursor=", "cursor", "bad_cursor"),
        ("cursor=hunter2", "cursor", "bad_cursor"),
        ("cursor=" + "A" * 33, "cursor", "bad_cursor"),
        ("projectid=proj-123", "projectid", "unknown_field"),
        ("%3Cscript%3E=1", "(unknown field)", "unknown_field"),
    ],
)
async def test_a_query_that_makes_no_sense(get: Make, query: str, field: str, code: str) -> None:
    response = await get(query)
    assert response.status_code == 400
    assert response.headers["Content-Type"] == "application/problem+json"
    (error,) = response.json()["errors"]
    assert (error["field"], error["code"]) == (field, code)
    assert "hunter2" not in response.text
    assert "script" not in response.text


async def test_the_list_while_the_store_is_away(get: Make, store: Any) -> None:
    store.failure = StoreUnavailableError("Not yet.", "why")
    assert (await get()).status_code == 503


async def test_a_token_sees_its_projects_alone(
    client: httpx.AsyncClient, bearer: Make, get: Make, put: Make
) -> None:
    mine, theirs = put(), put("other")
    narrow = {"projects": ["proj-123"]}
    assert [job["job_id"] for job in (await get(**narrow)).json()["data"]] == [mine]
    assert (await get({"project_id": "other"}, **narrow)).json()["data"] == []
    assert (await get(projects=[])).json()["data"] == []
    hidden = await client.get(f"/api/jobs/{theirs}", headers=bearer(**narrow))
    missing = await client.get(f"/api/jobs/{uuid.uuid4()}", headers=bearer(**narrow))
    assert hidden.status_code == missing.status_code == 404
    drop = {"request_id": None}
    assert hidden.json() | drop == missing.json() | drop


@pytest.mark.parametrize("phase", [None, "Pending", "Running"])
async def test_cancel(cancel: Make, put: Make, store: Any, phase: str | None) -> None:
    job_id = put(phase=phase)
    response = await cancel(job_id)
    assert response.status_code == 202
    assert response.json()["data"]["job_id"] == job_id
    assert store.resources[job_id]["spec"]["cancel"] is True


async def test_cancelling_again_is_harmless(cancel: Make, put: Make, store: Any) -> None:
    asked, ended = put(phase="Running", cancel=True), put(phase="Cancelled", cancel=True)
    resources = dict(store.resources)
    assert (await cancel(asked)).status_code == 202
    response = await cancel(ended)
    assert (response.status_code, response.json()["data"]["status"]) == (202, "cancelled")
    assert store.resources == resources


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
@pytest.mark.parametrize("asked_before", [False, True])
async def test_too_late(
    cancel: Make, put: Make, store: Any, phase: str, asked_before: bool
) -> None:
    job_id = put(phase=phase, cancel=asked_before)
    response = await cancel(job_id)
    assert (response.status_code, response.json()["code"]) == (409, "job_finished")
    assert store.resources[job_id]["spec"].get("cancel", False) is asked_before


async def test_a_job_that_ends_while_it_is_cancelled(
    cancel: Make, put: Make, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = put(phase="Running")
    finished = {**store.resources[job_id], "spec": {"projectId": "proj-123", "cancel": True}}

    async def cancel_job(_: str) -> Any:
        return store.put(finished, phase="Succeeded")

    monkeypatch.setattr(store, "cancel_job", cancel_job)
    assert (await cancel(job_id)).json()["code"] == "job_finished"


async def test_a_job_that_goes_while_it_is_cancelled(cancel: Make, put: Make, store: Any) -> None:
    job_id = put(phase="Running")
    del store.resources[job_id]
    assert (await cancel(job_id)).json()["code"] == "job_not_found"


async def test_nobody_cancels_another_project_s_job(cancel: Make, put: Make, store: Any) -> None:
    job_id = put("other", phase="Running")
    response = await cancel(job_id, projects=["proj-123"])
    assert (response.status_code, response.json()["code"]) == (404, "job_not_found")
    assert "cancel" not in store.resources[job_id]["spec"]
    for nonsense in (str(uuid.uuid4()), "x", job_id.upper()):
        assert (await cancel(nonsense)).json()["code"] == "job_not_found"
