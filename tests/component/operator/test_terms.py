"""The process's terms of leading, kopf and all, while its watches meet what an API server does."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import builders
import kopf
import pytest
from backupexport_contract import names
from backupexport_operator.handlers import build_registry, configure
from backupexport_operator.kube.client import connect
from backupexport_operator.kube.kopf_run import run_kopf
from backupexport_operator.leader.decision import Timings
from backupexport_operator.leader.election import Leadership, steady_clock
from backupexport_operator.leader.lease import LeaseStore
from backupexport_operator.leader.supervisor import Supervisor, Term
from backupexport_operator.observed.watch_health import WatchHealth
from backupexport_operator.settings import Settings
from backupexport_operator.telemetry.metrics import OperatorMetrics
from backupexport_operator.wiring import WATCHED
from fake_kubernetes.faults import Fault
from fake_kubernetes.server import GONE, NAMESPACE, FakeKubernetes
from waiting import until

RESYNC_SECONDS = 1
WATCHES = ("backupexports", "exporttargets", "jobs", "pods")


class Process:
    """What `__main__` does, in a thread of its own: at its end kopf waits for its loop's tasks."""

    def __init__(self, dead_watch_seconds: float) -> None:
        self.terms: list[Term] = []
        self._dead_watch_seconds = dead_watch_seconds
        self._loop = asyncio.new_event_loop()
        self._supervisor: Supervisor | None = None

    async def _serve(self) -> None:
        settings = Settings(
            namespace=NAMESPACE,
            runner_image="i",
            storages=builders.STORAGES,
            resync_seconds=RESYNC_SECONDS,
        )
        api_client = await connect(4)
        store = LeaseStore(api_client, NAMESPACE, "op")
        leadership = Leadership(store, "a", Timings())
        metrics = OperatorMetrics()

        async def work(term: Term) -> None:
            self.terms.append(term)
            kopf_settings = kopf.OperatorSettings()
            configure(kopf_settings)
            registry = build_registry(settings, metrics, term.watches, leadership.seconds_to_write)
            await run_kopf(
                registry, kopf_settings, NAMESPACE, term.stop, term.started, lambda: None
            )

        self._supervisor = Supervisor(
            leadership,
            work,
            lambda: asyncio.sleep(0),
            lambda: WatchHealth(WATCHED, steady_clock),
            dead_watch_seconds=self._dead_watch_seconds,
            silence_seconds=30,
        )
        try:
            await self._supervisor.run()
        finally:
            await api_client.close()

    def run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    def is_ready(self) -> bool:
        return self._supervisor is not None and self._supervisor.readiness_failures() == []

    def stop(self) -> None:
        if self._supervisor is not None:
            self._loop.call_soon_threadsafe(self._supervisor.stop)


@pytest.fixture
def dead_watch_seconds() -> float:
    """Longer than a watch is late on a busy machine."""
    return 300.0


@pytest.fixture
async def process(kubernetes: FakeKubernetes, dead_watch_seconds: float) -> AsyncIterator[Process]:
    """Leads, and is ready."""
    kubernetes.seed("exporttargets", builders.target_manifest(maxConcurrent=100))
    running = Process(dead_watch_seconds)
    thread = threading.Thread(target=running.run)
    thread.start()
    try:
        await until(lambda: len(running.terms) == 1 and running.is_ready())
        yield running
    finally:
        running.stop()
        await asyncio.to_thread(thread.join)


def make_export(kubernetes: FakeKubernetes, name: str) -> str:
    """One that somebody creates, and its Job's name."""
    kubernetes.seed("backupexports", builders.export_manifest(name, uid=f"uid-{name}"))
    return names.job_name(name)


def resyncs(kubernetes: FakeKubernetes, plural: str) -> int:
    """How often all of them were listed, and not those of one export or project."""
    lists = [call.query for call in kubernetes.calls if str(call) == f"list {plural}"]
    of_one = (names.LABEL_EXPORT_UID, "spec.projectId")
    return sum(not any(word in str(query) for word in of_one) for query in lists)


@pytest.mark.parametrize("plural", WATCHES)
async def test_what_goes_while_a_watch_lists_anew_kills_no_leader(
    kubernetes: FakeKubernetes, process: Process, plural: str
) -> None:
    """It is told 410, and when it lists again, something is gone of which it never heard."""
    job = make_export(kubernetes, "one")
    await until(lambda: job in kubernetes.objects("jobs"))
    made = kubernetes.objects("jobs")[job]
    kubernetes.seed("pods", builders.pod_manifest(made, "pod-a", builders.running()))
    kubernetes.seed("exporttargets", builders.target_manifest("q", "t-q"))
    await until(lambda: "status" in kubernetes.objects("exporttargets")["t-q"])
    held = Fault(f"(list|watch) {plural}", is_held=True, times=99)
    kubernetes.faults.append(held)
    kubernetes.tell_watches(plural, GONE)
    await until(lambda: kubernetes.watching(plural) == 0 and held.met > 0)
    gone = {"backupexports": "one", "exporttargets": "t-q", "jobs": job, "pods": "pod-a"}
    kubernetes.remove(plural, gone[plural])
    kubernetes.compact()
    held.release()
    await until(lambda: kubernetes.watching(plural) >= 1)
    before = resyncs(kubernetes, plural)
    await until(lambda: resyncs(kubernetes, plural) > before + 3)
    # What it never heard of would count as missed, for longer and longer.
    await until(lambda: not any(process.terms[0].watches.lateness().values()))
    assert process.is_ready()
    assert len(process.terms) == 1


def error_event(code: int) -> bytes:
    status = {"kind": "Status", "status": "Failure", "code": code, "message": "etcd is away"}
    event: dict[str, Any] = {"type": "ERROR", "object": status}
    return json.dumps(event).encode() + b"\n"


async def test_an_error_out_of_a_watch_ends_a_term_and_not_the_process(
    kubernetes: FakeKubernetes, process: Process
) -> None:
    kubernetes.tell_watches("jobs", error_event(500))
    await until(lambda: len(process.terms) == 2 and process.is_ready())
    job = make_export(kubernetes, "one")
    await until(lambda: job in kubernetes.objects("jobs"))


@pytest.mark.parametrize("dead_watch_seconds", [2 * RESYNC_SECONDS])
async def test_a_watch_that_tells_nothing_any_more_ends_a_term_and_not_the_process(
    kubernetes: FakeKubernetes, process: Process
) -> None:
    kubernetes.silence("exporttargets")
    kubernetes.seed("exporttargets", builders.target_manifest("q", "t-q"))
    await until(lambda: len(process.terms) >= 2 and process.is_ready(), seconds=120)
    await until(lambda: "status" in kubernetes.objects("exporttargets")["t-q"])


async def test_a_resync_comes_no_sooner_than_the_api_server_asks_for(
    kubernetes: FakeKubernetes, process: Process
) -> None:
    busy = Fault("list exporttargets", status=429, retry_after=3)
    # Before it is refused: on a busy machine time passes until we know of that.
    began = time.monotonic()
    kubernetes.faults.append(busy)
    await until(lambda: busy.met == 1)
    before = resyncs(kubernetes, "backupexports")
    await until(lambda: resyncs(kubernetes, "backupexports") > before)
    assert time.monotonic() - began >= 3
    assert process.is_ready()
