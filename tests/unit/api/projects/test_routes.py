"""GET /api/projects: who sees which projects, in pages, each with its newest job."""

import itertools
import uuid
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from backupexport_api.jobs.cached_job import CachedTarget
from backupexport_api.jobs.index import JobIndex
from backupexport_api.jobs.target_index import TargetIndex
from backupexport_api.kube.errors import StoreUnavailableError
from backupexport_api.projects.view import ProjectView
from backupexport_contract import names

Make = Callable[..., Any]

_numbers = itertools.count(1)


@pytest.fixture
def put_target(store: Any) -> Make:
    """Have an ExportTarget."""

    def put(project_id: str, created: str = "2026-01-01T00:00:00Z", **spec: Any) -> None:
        metadata = {
            "name": f"target-{next(_numbers)}",
            "resourceVersion": "1",
            "creationTimestamp": created,
        }
        data = {"metadata": metadata, "spec": {"projectId": project_id, **spec}}
        store.targets.put(CachedTarget.of(data))

    return put


@pytest.fixture
def put_job(store: Any) -> Make:
    """Have a job, made at that second; the id is returned."""

    def put(project_id: str, second: int, phase: str = "") -> str:
        name = str(uuid.uuid4())
        created = {names.ANNOTATION_CREATED_AT: f"2026-01-29T15:30:{second:02}.000Z"}
        manifest = {
            "metadata": {"name": name, "annotations": created},
            "spec": {"projectId": project_id},
        }
        store.put(manifest, **({"phase": phase} if phase else {}))
        return name

    return put


@pytest.fixture
def get(client: httpx.AsyncClient, bearer: Make) -> Make:
    """GET the list with a query, as a caller with these claims."""

    async def send(query: Any = None, **claims: Any) -> httpx.Response:
        return await client.get("/api/projects", params=query, headers=bearer(**claims))

    return send


def ids(response: httpx.Response) -> list[str]:
    assert response.status_code == 200, response.text
    return [project["project_id"] for project in response.json()["data"]]


async def test_what_is_told_of_a_project(
    client: httpx.AsyncClient, bearer: Make, get: Make, put_target: Make, put_job: Make
) -> None:
    put_target("shop", suspend=True)
    put_target("crm", encryption={"required": True, "recipients": ["age1"]})
    put_job("shop", 1, "Succeeded")
    newest = put_job("shop", 2, "Failed")
    answer = (await get()).json()
    job = (await client.get(f"/api/jobs/{newest}", headers=bearer())).json()["data"]
    assert answer == {
        "data": [
            {
                "project_id": "crm",
                "suspended": False,
                "encryption_required": True,
                "newest_job": None,
            },
            {
                "project_id": "shop",
                "suspended": True,
                "encryption_required": False,
                "newest_job": job,
            },
        ],
        "next_cursor": None,
    }
    for project in answer["data"]:
        assert ProjectView.model_validate(project).model_dump(mode="json") == project


async def test_there_may_be_none(get: Make) -> None:
    assert (await get()).json() == {"data": [], "next_cursor": None}


@pytest.mark.parametrize(
    ("claims", "seen"),
    [
        ({"projects": ["*"]}, ["Shop", "crm", "shop"]),
        ({"projects": "*"}, ["Shop", "crm", "shop"]),
        ({"projects": ["nobody", "*"]}, ["Shop", "crm", "shop"]),
        ({"projects": ["shop", "nobody", "shop"]}, ["shop"]),
        ({"projects": ["Shop"]}, ["Shop"]),
        ({"projects": ["SHOP", "", "ä", "\U0001f600"]}, []),
        ({"projects": []}, []),
        ({"projects": None}, []),
    ],
)
async def test_a_token_lists_what_it_is_good_for(
    get: Make, put_target: Make, claims: dict[str, Any], seen: list[str]
) -> None:
    for project_id in ("shop", "Shop", "crm"):
        put_target(project_id)
    assert ids(await get(**claims)) == seen


async def test_a_token_without_the_claim_lists_all_where_it_may_use_all(
    make_client: Make, bearer: Make, put_target: Make
) -> None:
    put_target("shop")
    async with make_client(TOKENS_WITHOUT_PROJECTS="all") as client:
        assert ids(await client.get("/api/projects", headers=bearer(projects=None))) == ["shop"]


async def test_nobody_s_jobs_show_to_others(get: Make, put_target: Make, put_job: Make) -> None:
    for project_id in ("shop", "SHOP"):
        put_target(project_id)
    hidden, own = put_job("SHOP", 9), put_job("shop", 1)
    response = await get(projects=["shop"])
    assert [each["newest_job"]["job_id"] for each in response.json()["data"]] == [own]
    assert hidden not in response.text


async def test_the_next_newest_job_comes_back_where_the_newest_is_deleted(
    store: Any, get: Make, put_target: Make, put_job: Make
) -> None:
    put_target("shop")
    first, third, second = (put_job("shop", second) for second in (1, 3, 2))
    seen = []
    for gone in (third, second, first):
        (project,) = (await get()).json()["data"]
        seen.append(project["newest_job"]["job_id"])
        store.index.discard(gone)
    assert seen == [third, second, first]
    assert (await get()).json()["data"][0]["newest_job"] is None


async def test_of_two_targets_the_older_serves(store: Any, get: Make, put_target: Make) -> None:
    put_target("shop", created="2026-01-02T00:00:00Z", suspend=True)
    put_target("shop", created="2026-01-01T00:00:00Z")
    (project,) = (await get()).json()["data"]
    assert project["suspended"] is False
    store.targets.discard(store.targets.serving("shop").name)
    (project,) = (await get()).json()["data"]
    assert project["suspended"] is True
    store.targets.discard(store.targets.serving("shop").name)
    assert ids(await get()) == []


@pytest.mark.parametrize("limit", [1, 7, 29, 30, 200])
@pytest.mark.parametrize("claims", [{}, {"projects": [f"p{n}" for n in range(0, 60, 2)]}])
async def test_pages_are_the_whole_list_cut_up(
    get: Make, put_target: Make, claims: dict[str, Any], limit: int
) -> None:
    for number in range(30):
        put_target(f"p{number}")
    whole = ids(await get({"limit": 200}, **claims))
    assert len(whole) == (15 if claims else 30)
    assert whole == sorted(whole)
    found: list[str] = []
    query: dict[str, Any] = {"limit": limit}
    while True:
        response = await get(query, **claims)
        found += ids(response)
        if response.json()["next_cursor"] is None:
            break
        assert len(ids(response)) == limit
        query["cursor"] = response.json()["next_cursor"]
    assert found == whole


async def test_fifty_unless_asked_otherwise(get: Make, put_target: Make) -> None:
    for number in range(51):
        put_target(f"p{number:02}")
    first = await get()
    assert len(ids(first)) == 50
    assert ids(await get({"cursor": first.json()["next_cursor"]})) == ["p50"]


async def test_a_page_goes_on_where_its_last_project_was_though_that_is_gone(
    store: Any, get: Make, put_target: Make
) -> None:
    for project_id in "abc":
        put_target(project_id)
    cursor = (await get({"limit": 2})).json()["next_cursor"]
    store.targets.discard(store.targets.serving("b").name)
    assert ids(await get({"cursor": cursor})) == ["c"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=many", "limit"),
        ("cursor=", "cursor"),
        ("cursor=a%0a", "cursor"),
        ("cursor=a/b", "cursor"),
        ("cursor=" + "a" * 101, "cursor"),
        ("project_id=shop", "project_id"),
    ],
)
async def test_a_bad_query(get: Make, query: str, field: str) -> None:
    response = await get(query)
    assert response.status_code == 400
    assert [error["field"] for error in response.json()["errors"]] == [field]


async def test_who_does_not_say_who_they_are_learns_nothing(
    client: httpx.AsyncClient, put_target: Make
) -> None:
    put_target("shop")
    response = await client.get("/api/projects?limit=0")
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert "shop" not in response.text


async def test_it_is_counted_as_reading(make_client: Make, bearer: Make) -> None:
    async with make_client(READ_RATE_LIMIT="2/minute") as client:
        first = await client.get("/api/projects", headers=bearer())
        assert first.headers["RateLimit-Limit"] == "2"
        await client.get("/api/jobs", headers=bearer())
        refused = await client.get("/api/projects?limit=0", headers=bearer())
        assert refused.status_code == 429
        assert (await client.get("/api/projects", headers=bearer(sub="bob"))).status_code == 200


async def test_head_is_get_without_the_body(client: httpx.AsyncClient, bearer: Make) -> None:
    assert (await client.head("/api/projects", headers=bearer())).status_code == 200


async def test_a_cache_that_is_not_there_yet(store: Any, get: Make) -> None:
    store.failure = StoreUnavailableError("Try again in a moment.", "the cache is not synced")
    response = await get()
    assert response.status_code == 503
    assert "Retry-After" in response.headers


async def test_of_ten_thousand_projects_only_the_page_is_looked_at(
    store: Any, get: Make, put_target: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(10_000):
        put_target(f"p{number:05}")
    looked_at: list[str] = []

    def looking(method: Make) -> Make:
        def look(index: Any, project_id: str) -> Any:
            looked_at.append(project_id)
            return method(index, project_id)

        return look

    monkeypatch.setattr(TargetIndex, "_serving", looking(TargetIndex._serving))
    monkeypatch.setattr(JobIndex, "newest_of", looking(JobIndex.newest_of))
    response = await get({"limit": 10, "cursor": "p07000"})
    assert ids(response) == [f"p{number:05}" for number in range(7001, 7011)]
    assert len(looked_at) == 21
    assert response.json()["next_cursor"] == "p07010"
