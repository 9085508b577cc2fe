"""The probes' and Prometheus's questions, over HTTP."""

import asyncio

import aiohttp
import pytest
from aiohttp.test_utils import unused_port
from backupexport_operator.telemetry.http_server import serving
from prometheus_client import CollectorRegistry, Gauge


@pytest.mark.parametrize(
    ("path", "alive", "ready", "status", "text"),
    [
        ("/healthz", [], ["busy"], 200, "ok\n"),
        ("/readyz", [], [], 200, "ok\n"),
        ("/healthz", ["a", "b"], [], 503, "a\nb\n"),
        ("/readyz", [], ["busy"], 503, "busy\n"),
        ("/other", [], [], 404, "404: Not Found"),
    ],
)
async def test_probes(
    path: str, alive: list[str], ready: list[str], status: int, text: str
) -> None:
    port = unused_port()
    async with (
        serving(lambda: alive, lambda: ready, CollectorRegistry(), port),
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}{path}") as answer,
    ):
        assert (answer.status, await answer.text()) == (status, text)


async def test_metrics_come_from_the_given_registry_and_leave_no_task_behind() -> None:
    registry = CollectorRegistry()
    Gauge("answer", "Of everything.", registry=registry).set(42)
    port = unused_port()
    async with (
        serving(list, list, registry, port),
        aiohttp.ClientSession() as session,
    ):
        before = asyncio.all_tasks()
        for path in ("/metrics", "/healthz", "/readyz"):
            async with session.get(f"http://127.0.0.1:{port}{path}") as answer:
                assert answer.status == 200
                text = await answer.text()
                if path == "/metrics":
                    assert "answer 42.0\n" in text
                    assert answer.headers["Content-Type"].startswith("text/plain; version=")
        async with asyncio.timeout(60):
            while asyncio.all_tasks() != before:
                await asyncio.sleep(0.01)
