"""GET /metrics."""

import asyncio
import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from backupexport_api.telemetry.metrics import Metrics

Make = Callable[..., Any]


async def scrape(client: httpx.AsyncClient) -> dict[str, float]:
    response = await client.get("/metrics")
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/plain; version=")
    lines = [line for line in response.text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


async def test_requests_by_route_and_status(
    client: httpx.AsyncClient, bearer: Make, post: Make
) -> None:
    job_id = (await post()).json()["data"]["job_id"]
    await client.get(f"/api/jobs/{job_id}", headers=bearer())
    await client.get("/api/jobs/nobody")
    await client.get("/some/secret/path")
    await client.request("FROBNICATE", "/some/secret/path")
    seen = await scrape(client)
    count = "http_request_duration_seconds_count"
    for labels in (
        'method="POST",route="/api/backup/export",status="202"',
        'method="GET",route="/api/jobs/{job_id}",status="200"',
        'method="GET",route="/api/jobs/{job_id}",status="401"',
        'method="GET",route="(none)",status="404"',
        'method="other",route="(none)",status="404"',
    ):
        assert seen[f"{count}{{{labels}}}"] == 1, labels
    text = " ".join(seen)
    assert not re.search(rf"secret|FROBNICATE|{job_id}|proj-123|alice", text)


async def test_jobs_and_caches(client: httpx.AsyncClient, post: Make, store: Any) -> None:
    await post()
    store.put({"metadata": {"name": "nightly"}, "spec": {"projectId": "other"}}, phase="Failed")
    seen = await scrape(client)
    phases = {"Pending": 1, "Running": 0, "Succeeded": 0, "Failed": 1, "Cancelled": 0}
    assert {p: seen[f'backupexport_jobs{{phase="{p}"}}'] for p in phases} == phases
    assert seen['backupexport_cache_age_seconds{resource="backupexports"}'] == 1.5
    assert seen['backupexport_cache_synced{resource="backupexports"}'] == 1
    assert seen["process_resident_memory_bytes"] > 0


async def test_a_scrape_needs_no_token_and_is_not_in_the_openapi_document(
    client: httpx.AsyncClient,
) -> None:
    await scrape(client)
    assert "/metrics" not in (await client.get("/openapi.json")).text


async def test_refusals(make_client: Make, bearer: Make) -> None:
    async with make_client(READ_RATE_LIMIT="1/minute", EXPORT_RATE_LIMIT="1/minute") as client:
        for _ in range(3):
            await client.get("/api/jobs", headers=bearer())
        for _ in range(2):
            await client.post("/api/backup/export", headers=bearer())
        seen = await scrape(client)
    assert seen['backupexport_rate_limit_refusals_total{limit="read"}'] == 2
    assert seen['backupexport_rate_limit_refusals_total{limit="export"}'] == 1


async def test_a_flood_of_scrapes_is_few(
    make_client: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = 0
    exposition = Metrics.exposition

    def counted(metrics: Metrics) -> bytes:
        nonlocal made
        made += 1
        return exposition(metrics)

    monkeypatch.setattr(Metrics, "exposition", counted)
    async with make_client() as client:
        await asyncio.gather(*(scrape(client) for _ in range(50)))
    assert made < 10
