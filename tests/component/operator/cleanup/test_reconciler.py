"""The disposal of finished exports, over a Kubernetes API and its watch."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import builders
import pytest
from backupexport_contract.runner_protocol import Outcome, delivery_task
from backupexport_operator.cleanup.jobs import CleanupJobs
from backupexport_operator.cleanup.reconciler import CleanupReconciler
from backupexport_operator.kube.cluster import Cluster
from backupexport_operator.kube.event_recorder import EventRecorder
from backupexport_operator.manifests.pod import JobSettings
from backupexport_operator.observed.export_cache import ExportCache
from backupexport_operator.observed.jobs_and_pods import export_uid_of
from backupexport_operator.telemetry.metrics import OperatorMetrics
from builders import Manifest
from fake_kubernetes.faults import Fault
from fake_kubernetes.server import GONE, NAMESPACE, FakeKubernetes
from fake_kubernetes.storage import Change
from kubernetes.aio import client
from seen_world import live_world
from waiting import until

PAST = "2026-01-29T15:30:59Z"
FINALIZER = "backupexport.dev/artifact"


def expired(number: int, **metadata: Any) -> Manifest:
    status = {
        "phase": "Succeeded",
        "artifact": builders.ARTIFACT_STATUS,
        "expirationTime": PAST,
        "disposalPending": True,
    }
    return builders.export_manifest(f"e{number}", status=status, uid=f"uid-{number}", **metadata)


class Running:
    """A reconciler at work."""

    def __init__(self, kubernetes: FakeKubernetes, api_client: client.ApiClient) -> None:
        self.kubernetes = kubernetes
        # The exports whose removals were made, in order.
        self.made: list[str] = []
        kubernetes.listeners.append(self._note_made)
        writer = Cluster(api_client, NAMESPACE)
        self.recorder = EventRecorder(api_client, NAMESPACE, "operator-0")
        self.reconciler = CleanupReconciler(
            ExportCache(live_world(kubernetes), 4, None, 2),
            writer,
            self.recorder,
            OperatorMetrics(),
            CleanupJobs(writer, JobSettings(namespace="n", runner_image="i", claim_name="c")),
        )
        self.task = asyncio.create_task(self.reconciler.watch_for_ever())

    def exports(self) -> list[str]:
        return list(self.kubernetes.objects("backupexports"))

    def finish(self, number: int) -> None:
        """The removal's Job ends well."""
        name = f"remove-bex-e{number}"
        job = self.kubernetes.objects("jobs")[name]
        state = builders.ended(0, Outcome())
        self.kubernetes.seed("pods", builders.pod_manifest(job, f"r-{number}", state))
        self.kubernetes.change("jobs", name, {"status": builders.complete()})

    async def ask(self, *uids: str) -> None:
        """Ask for these exports, and see all work done that can be done."""
        for uid in uids:
            self.reconciler.ask(uid)
        await until(lambda: self.reconciler.queue.length == 0)

    async def watch_anew(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        self.task = asyncio.create_task(self.reconciler.watch_for_ever())

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.reconciler.queue.stop()
        await self.recorder.stop()

    def _note_made(self, change: Change) -> None:
        if change.kind.plural == "jobs" and change.old is None and change.new is not None:
            self.made.append(str(export_uid_of(change.new)))


@pytest.fixture
async def start(
    kubernetes: FakeKubernetes, api_client: client.ApiClient
) -> AsyncIterator[Callable[[], Running]]:
    started: list[Running] = []

    def begin() -> Running:
        started.append(Running(kubernetes, api_client))
        return started[-1]

    yield begin
    for running in started:
        await running.stop()


Start = Callable[[], Running]


async def test_a_file_goes_when_nothing_sends_it_any_more(
    kubernetes: FakeKubernetes, start: Start
) -> None:
    export, _ = kubernetes.seed("backupexports", expired(1), expired(2))
    (sender,) = kubernetes.seed(
        "jobs", builders.job_manifest(export, delivery_task("telegram"), builders.complete())
    )
    kubernetes.seed("pods", builders.pod_manifest(sender, "s"))
    running = start()
    await until(lambda: running.made == ["uid-2"])
    await running.ask("uid-1")
    assert running.made == ["uid-2"]
    kubernetes.change("pods", "s", {"status": builders.pod_status(builders.ended(0))})
    await running.ask("uid-1")
    assert running.made == ["uid-2", "uid-1"]


async def test_what_has_expired_loses_its_file_and_then_its_resource(
    kubernetes: FakeKubernetes, start: Start
) -> None:
    kubernetes.seed("backupexports", expired(1))
    running = start()
    await until(lambda: running.made == ["uid-1"])
    await running.ask("uid-1")
    assert running.exports() == ["e1"]
    running.finish(1)
    running.reconciler.ask("uid-1")
    await until(lambda: running.exports() == [])
    # Its Job, and that one's pod, go with it.
    assert not kubernetes.objects("jobs")
    assert not kubernetes.objects("pods")


async def test_another_export_of_the_name_is_not_deleted(
    kubernetes: FakeKubernetes, start: Start
) -> None:
    """It came after the watch was heard last."""
    kubernetes.seed("backupexports", expired(1))
    running = start()
    await until(lambda: running.made == ["uid-1"])
    await running.ask()
    running.finish(1)
    late = Fault("delete backupexports", is_held=True)
    kubernetes.faults.append(late)
    running.reconciler.ask("uid-1")
    await until(lambda: late.met == 1)
    kubernetes.remove("backupexports", "e1")
    kubernetes.seed("backupexports", builders.export_manifest("e1", uid="uid-2"))
    late.release()
    await until(lambda: kubernetes.calls[-1].status == 409)
    assert running.exports() == ["e1"]


async def test_a_thousand_that_expire_together_take_turns(
    kubernetes: FakeKubernetes, start: Start
) -> None:
    kubernetes.seed("backupexports", *(expired(number) for number in range(1000)))
    running = start()
    await until(lambda: len(running.made) == 10)
    await running.ask()
    assert len(running.made) == 10
    for done in range(60):
        uid = running.made[done]
        running.finish(int(uid.removeprefix("uid-")))
        running.reconciler.ask(uid)
        await until(lambda made=done + 11: len(running.made) == made)  # type: ignore[misc]
    assert len(set(running.made)) == 70


async def test_a_removal_whose_export_is_gone_at_the_next_list_frees_its_place(
    kubernetes: FakeKubernetes, start: Start
) -> None:
    kubernetes.seed("backupexports", *(expired(number) for number in range(11)))
    running = start()
    await until(lambda: len(running.made) == 10)
    running.task.cancel()
    await running.ask()
    kubernetes.remove("backupexports", running.made[0].replace("uid-", "e"))
    await running.watch_anew()
    await until(lambda: len(running.made) == 11)


async def test_in_a_namespace_that_ends_it_lets_go(
    kubernetes: FakeKubernetes, start: Start
) -> None:
    kubernetes.seed("backupexports", expired(1, finalizers=[FINALIZER, "other/one"]))
    kubernetes.delete("backupexports", "e1")
    kubernetes.end_namespace()
    start()

    def finalizers() -> list[str]:
        found: list[str] = kubernetes.objects("backupexports")["e1"]["metadata"]["finalizers"]
        return found

    await until(lambda: finalizers() == ["other/one"])


@pytest.mark.parametrize("line", [GONE, b'{"type": "ADDED"}\n'], ids=["gone", "no event"])
async def test_a_watch_that_breaks_begins_anew(
    kubernetes: FakeKubernetes, start: Start, line: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backupexport_operator.kube.finished_exports._PAUSE_SECONDS", 0)

    def lists() -> int:
        return sum(str(call) == "list backupexports" for call in kubernetes.calls)

    running = start()
    await until(lambda: kubernetes.watching("backupexports") == 1)
    assert lists() == 1
    kubernetes.tell_watches("backupexports", line)
    await until(lambda: lists() == 2)
    kubernetes.seed("backupexports", expired(1))
    await until(lambda: running.made == ["uid-1"])


async def test_a_watch_whose_version_is_compacted_begins_anew(
    kubernetes: FakeKubernetes, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is cut, and by the time it is asked for again its version is too old."""
    monkeypatch.setattr("backupexport_operator.kube.finished_exports._PAUSE_SECONDS", 0)
    held = Fault("watch backupexports", is_held=True)
    kubernetes.faults.append(held)
    running = start()
    await until(lambda: held.met == 1)
    kubernetes.seed("backupexports", expired(1))
    kubernetes.compact()
    held.release()
    await until(lambda: running.made == ["uid-1"])
