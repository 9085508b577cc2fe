"""Links that are taken back: one, or all of a job."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from backupexport_api.jobs.link_state import MOST_TAKEN_BACK
from exported_files import JOB_ID, Exported, another_id

Client = httpx.AsyncClient
ALL = f"/api/jobs/{JOB_ID}/links"


@pytest.fixture
async def client(make_client: Callable[..., Client], tmp_path: Path) -> AsyncIterator[Client]:
    async with make_client(EXPORTS_DIRECTORY=str(tmp_path), LINK_SECRET="l" * 40) as client:
        yield client


@pytest.fixture
def asker(bearer: Callable[..., dict[str, str]]) -> dict[str, str]:
    """The header of one who may see the job."""
    return bearer(projects=["proj-123"])


@pytest.fixture
def make(client: Client, asker: dict[str, str], exported: Exported) -> Callable[..., Any]:
    async def made() -> dict[str, str]:
        data: dict[str, str] = (await client.post(exported.link_url, headers=asker)).json()["data"]
        return data

    return made


async def statuses(client: Client, *links: dict[str, str]) -> list[int]:
    return [(await client.get(link["url"])).status_code for link in links]


async def test_one(client: Client, asker: dict[str, str], make: Callable[..., Any]) -> None:
    first, second = await make(), await make()
    assert await statuses(client, first, second) == [200, 200]
    for _ in range(2):
        done = await client.delete(f"{ALL}/{first['link_id']}", headers=asker)
        assert (done.status_code, done.content) == (204, b"")
        assert await statuses(client, first, second) == [403, 200]
    assert await statuses(client, await make()) == [200]


async def test_all(client: Client, asker: dict[str, str], make: Callable[..., Any]) -> None:
    first, second = await make(), await make()
    await client.delete(f"{ALL}/{first['link_id']}", headers=asker)
    for _ in range(2):
        done = await client.delete(ALL, headers=asker)
        assert (done.status_code, done.content) == (204, b"")
        assert await statuses(client, first, second) == [403, 403]
    third = await make()
    assert await statuses(client, first, second, third) == [403, 403, 200]
    assert (await client.delete(ALL, headers=asker)).status_code == 204
    assert await statuses(client, third) == [403]


async def test_a_link_that_is_taken_back_looks_like_any_bad_one(
    client: Client, asker: dict[str, str], make: Callable[..., Any]
) -> None:
    link = await make()
    await client.delete(f"{ALL}/{link['link_id']}", headers=asker)
    refused = await client.get(link["url"])
    bad = await client.get(link["url"] + "x")
    own = {"x-request-id"}
    assert {k: v for k, v in refused.headers.items() if k not in own} == {
        k: v for k, v in bad.headers.items() if k not in own
    }
    assert {**refused.json(), "request_id": ""} == {**bad.json(), "request_id": ""}


async def test_many_taken_back_singly_take_back_all(
    client: Client, asker: dict[str, str], make: Callable[..., Any], store: Any
) -> None:
    kept = await make()
    for number in range(MOST_TAKEN_BACK):
        await client.delete(f"{ALL}/{number:016x}", headers=asker)
    assert await statuses(client, kept) == [200]
    await client.delete(f"{ALL}/{'f' * 16}", headers=asker)
    assert await statuses(client, kept) == [403]
    assert len(store.resources[JOB_ID]["metadata"]["annotations"]) == 1


@pytest.mark.parametrize("path", ["", "/0123456789abcdef"])
async def test_only_who_may_see_the_job_takes_its_links_back(
    client: Client,
    bearer: Callable[..., dict[str, str]],
    make: Callable[..., Any],
    asker: dict[str, str],
    path: str,
) -> None:
    link = await make()
    foreign = await client.delete(ALL + path, headers=bearer(projects=["other"]))
    missing = await client.delete(f"/api/jobs/{another_id()}/links{path}", headers=asker)
    no_id = await client.delete(f"/api/jobs/x/links{path}", headers=asker)
    told = {(it.status_code, it.json()["code"]) for it in (foreign, missing, no_id)}
    assert told == {(404, "job_not_found")}
    assert (await client.delete(ALL + path)).status_code == 401
    # A link is good for the file alone.
    by_link = await client.delete(f"{ALL}{path}?{link['url'].partition('?')[2]}")
    assert by_link.status_code == 401
    assert await statuses(client, link) == [200]


@pytest.mark.parametrize(
    "link_id", ["x", "0123456789ABCDEF", "0" * 15, "0" * 17, "%00", "..", "%0A"]
)
async def test_what_can_be_no_link(
    client: Client, asker: dict[str, str], exported: Exported, store: Any, link_id: str
) -> None:
    answer = await client.delete(f"{ALL}/{link_id}", headers=asker)
    assert answer.status_code in (404, 405)
    assert "annotations" not in store.resources[JOB_ID]["metadata"]


async def test_links_can_be_taken_back_where_none_are_made(
    make_client: Callable[..., Client], exported: Exported, asker: dict[str, str]
) -> None:
    """Whoever turns them off for a while has them back as they were."""
    async with make_client() as client:
        assert (await client.delete(ALL, headers=asker)).status_code == 204


async def test_a_job_that_is_gone_meanwhile(
    client: Client, asker: dict[str, str], exported: Exported, store: Any
) -> None:
    del store.resources[JOB_ID]
    answer = await client.delete(ALL, headers=asker)
    assert (answer.status_code, answer.json()["code"]) == (404, "job_not_found")
