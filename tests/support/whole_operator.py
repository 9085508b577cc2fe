"""The whole operator, kopf and all, over the fake Kubernetes API; it leads."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import kopf
from backupexport_operator.handlers import build_registry, configure
from backupexport_operator.kube.kopf_run import run_kopf
from backupexport_operator.leader.election import steady_clock
from backupexport_operator.observed.watch_health import WatchHealth
from backupexport_operator.settings import Settings
from backupexport_operator.telemetry.metrics import OperatorMetrics
from backupexport_operator.wiring import WATCHED
from fake_kubernetes.server import NAMESPACE, FakeKubernetes
from waiting import until

EXPORTS = "backupexports"
WATCHES = (EXPORTS, "exporttargets", "jobs", "pods")


@contextlib.asynccontextmanager
async def whole_operator(
    kubernetes: FakeKubernetes, settings: Settings, metrics: OperatorMetrics | None = None
) -> AsyncIterator[None]:
    """Runs until the context ends; it begins when all watches are open."""
    kopf_settings = kopf.OperatorSettings()
    configure(kopf_settings)
    registry = build_registry(
        settings, metrics or OperatorMetrics(), WatchHealth(WATCHED, steady_clock), lambda: 15.0
    )
    loops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def work() -> None:
        stop = asyncio.Event()
        loops.append((asyncio.get_running_loop(), stop))
        await run_kopf(registry, kopf_settings, NAMESPACE, stop, asyncio.Event(), lambda: None)

    # At its end kopf waits for every task of its event loop, those of our server too.
    running = asyncio.create_task(asyncio.to_thread(asyncio.run, work()))
    await until(lambda: all(kubernetes.watching(plural) for plural in WATCHES))
    try:
        yield
    finally:
        for loop, stop in loops:
            loop.call_soon_threadsafe(stop.set)
        await running
