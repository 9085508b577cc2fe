"""Serves GET /healthz, /readyz and /metrics of one operator process."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

# Returns what is wrong, in words; nothing if all is well.
Failures = Callable[[], list[str]]


@asynccontextmanager
async def serving(
    liveness: Failures, readiness: Failures, metrics: CollectorRegistry, port: int
) -> AsyncIterator[None]:
    """Serve the three routes on all addresses in the context; each answer shows that we run.

    No connection is kept open, because kopf waits at its end for every task that began after it.
    """

    async def healthz(_: web.Request) -> web.Response:
        return _probe(liveness())

    async def readyz(_: web.Request) -> web.Response:
        return _probe(readiness())

    async def scrape(_: web.Request) -> web.Response:
        content_type = {"Content-Type": CONTENT_TYPE_LATEST}
        return _last(web.Response(body=generate_latest(metrics), headers=content_type))

    app = web.Application()
    routes = (("/healthz", healthz), ("/readyz", readyz), ("/metrics", scrape))
    app.add_routes([web.get(path, handler) for path, handler in routes])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, port=port).start()
        yield
    finally:
        await runner.cleanup()


def _probe(failures: list[str]) -> web.Response:
    text = "".join(f"{failure}\n" for failure in failures)
    return _last(web.Response(text=text or "ok\n", status=503 if failures else 200))


def _last(response: web.Response) -> web.Response:
    response.force_close()
    return response
