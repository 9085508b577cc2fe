"""What every answer has, and HEAD: the same without a body."""

import uuid
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from backupexport_api.app import create_app
from backupexport_api.telemetry.metrics import Metrics
from starlette.routing import Route

Make = Callable[..., Any]

JOB = str(uuid.uuid4())
VARY = {"x-request-id", "ratelimit-remaining", "x-ratelimit-remaining", "x-ratelimit-reset"}


@pytest.fixture
def paths(store: Any, make_settings: Make) -> list[str]:
    """The path of every route that answers GET."""
    store.put({"metadata": {"name": JOB}, "spec": {"projectId": "proj-123"}}, phase="Running")
    routes = create_app(make_settings(), store, Metrics()).routes
    templates = [r.path for r in routes if isinstance(r, Route) and "GET" in (r.methods or ())]
    return [t.replace("{job_id}", JOB).replace("{path:path}", "app.js") for t in templates]


async def test_head_is_get_without_a_body(
    make_client: Make, bearer: Make, paths: list[str]
) -> None:
    assert len(paths) > 8
    async with make_client(EVENT_STREAM_SECONDS="0.1") as client:
        for path in paths:
            get = await client.get(path, headers=bearer())
            head = await client.head(path, headers=bearer())
            assert head.status_code == get.status_code, path
            # A body that is made while it is sent has no length.
            lasting = [
                {name: value for name, value in answer.headers.items() if name not in VARY}
                for answer in (get, head)
            ]
            if path == "/metrics":
                assert [fields.pop("content-length") for fields in lasting]
            assert lasting[0] == lasting[1], path


async def test_a_405_names_head(client: httpx.AsyncClient, paths: list[str]) -> None:
    for path in paths:
        answer = await client.request("DELETE", path)
        assert answer.status_code == 405, path
        assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD"}, path


async def test_head_holds_no_event_stream(
    client: httpx.AsyncClient, bearer: Make, paths: list[str]
) -> None:
    del paths
    answer = await client.head(f"/api/jobs/{JOB}/events", headers=bearer())
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["Content-Type"] == "text/event-stream"
    told = (await client.get("/metrics")).text
    assert "backupexport_event_streams 0.0" in told


async def test_the_document_has_get_alone(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    assert not [path for path, operations in document["paths"].items() if "head" in operations]
    ids = [o["operationId"] for path in document["paths"].values() for o in path.values()]
    assert len(ids) == len(set(ids))
    assert "/api/jobs/{job_id}/download" in document["paths"]


async def test_no_answer_is_kept_or_guessed_at(
    make_client: Make, bearer: Make, paths: list[str]
) -> None:
    async with make_client(EVENT_STREAM_SECONDS="0.1") as client:
        for path in [*paths, "/nowhere"]:
            for answer in (await client.get(path, headers=bearer()), await client.get(path)):
                assert answer.headers["X-Content-Type-Options"] == "nosniff", path
                is_page = path in ("/", "/docs") or path.startswith("/assets/")
                kept = "no-cache" if is_page else "no-store"
                if path == "/api/client-configuration":
                    kept = "public, max-age=300"
                assert kept in answer.headers["Cache-Control"], path
        post = await client.post(
            "/api/backup/export", json={"project_id": "proj-123"}, headers=bearer()
        )
        assert (post.status_code, post.headers["Cache-Control"]) == (202, "no-store")
        for answer in (post, await client.get(f"/api/jobs/{JOB}/download")):
            # Once, with a value that stands alone.
            for name in ("X-Content-Type-Options", "Cache-Control", "X-Request-ID"):
                assert len(answer.headers.get_list(name)) == 1, name


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://exports.example.com", "max-age=31536000"),
        ("http://exports.example.com", None),
        ("", None),
    ],
)
async def test_browsers_keep_to_https_where_users_come_by_it(
    make_client: Make, url: str, expected: str | None
) -> None:
    async with make_client(PUBLIC_URL=url) as client:
        for path in ("/", "/healthz", "/nowhere", "/api/jobs"):
            answer = await client.get(path)
            assert answer.headers.get("Strict-Transport-Security") == expected
