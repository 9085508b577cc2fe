"""Serves GET /healthz, /readyz and /metrics of one operator process."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

# Returns what is wrong, in words; nothing if all is well.
Failures = Callable[[], list[str]]


def application(
    liveness: Failures, readiness: Failures, metrics: CollectorRegistry
) -> web.Application:
    """Returns the three routes; each answer shows that the event loop runs.

    No connection is kept open, because kopf waits at its end for every task that began after it.
    """

    async def healthz(_: web.Request) -> web.Response:
        return _answer(liveness())

    async def readyz(_: web.Request) -> web.Response:
        return _answer(readiness())

    async def scrape(_: web.Request) -> web.Response:
        response = web.Response(
            body=generate_latest(metrics), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )
        response.force_close()
        return response

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", scrape)
    return app


@asynccontextmanager
async def serving(app: web.Application, port: int) -> AsyncIterator[None]:
    """Serve `app` on all addresses in the context."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, port=port).start()
        yield
    finally:
        await runner.cleanup()


def _answer(failures: list[str]) -> web.Response:
    response = web.Response(
        text="".join(f"{failure}\n" for failure in failures) or "ok\n",
        status=503 if failures else 200,
    )
    response.force_close()
    return response
