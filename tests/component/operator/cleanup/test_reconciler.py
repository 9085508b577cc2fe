"""The disposal of finished exports, over a watch that the test feeds."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest
from backupexport_contract.backup_export import BackupExport
from backupexport_contract.runner_protocol import Outcome, outcome_text
from backupexport_operator.cleanup.jobs import CleanupJobs
from backupexport_operator.cleanup.reconciler import CleanupReconciler
from backupexport_operator.manifests.events import ExportEvent
from backupexport_operator.manifests.pod import RunnerDefaults
from backupexport_operator.observed.export_cache import ExportCache, World
from backupexport_operator.observed.jobs_and_pods import ObservedJob, ObservedPod
from backupexport_operator.telemetry.metrics import OperatorMetrics
from kubernetes.aio.client.exceptions import ApiException

PAST, NOW = "2026-01-29T15:30:59Z", "2099-01-29T15:30:59Z"
ARTIFACT = {
    "path": "p/f", "sizeBytes": 1, "uncompressedBytes": 1, "sha256": "ab",
    "serverVersion": "17.5", "dumpVersion": "17.6", "displaySize": "1 B",
}  # fmt: skip


def expired(number: int, **metadata: Any) -> BackupExport:
    return BackupExport.model_validate(
        {
            "metadata": {
                "name": f"e{number}",
                "namespace": "ns",
                "uid": f"uid-{number}",
                "resourceVersion": "1",
                "creationTimestamp": PAST,
                **metadata,
            },
            "spec": {"projectId": "p"},
            "status": {"phase": "Succeeded", "artifact": ARTIFACT, "expirationTime": PAST},
        }
    )


class Cluster:
    """What the reconciler reads, writes and records; `changes` is what its watch tells next."""

    def __init__(self, *exports: BackupExport) -> None:
        self.exports = list(exports)
        self.changes: asyncio.Queue[Any] = asyncio.Queue()
        self.jobs: dict[str, list[ObservedJob]] = {}
        self.pods: dict[str, list[ObservedPod]] = {}
        self.made: list[str] = []
        self.deleted: list[str] = []
        self.released: list[str] = []
        self.events: list[ExportEvent] = []
        self.refusal: ApiException | None = None
        self.lists = 0

    async def list_finished(self, _awaiting: str) -> tuple[list[BackupExport], str]:
        self.lists += 1
        return self.exports, "1"

    async def watch_finished(
        self, _awaiting: str, _version: str
    ) -> AsyncIterator[tuple[str, BackupExport]]:
        while True:
            change = await self.changes.get()
            if isinstance(change, Exception):
                raise change
            yield change

    async def create_job(self, manifest: dict[str, Any]) -> ObservedJob:
        if self.refusal is not None:
            raise self.refusal
        name = manifest["metadata"]["name"]
        uid = manifest["metadata"]["labels"]["backupexport.dev/export-uid"]
        job = ObservedJob(name, uid, export_uid=uid, task="remove", created_at=NOW)
        if uid not in self.made:
            self.made.append(uid)
            self.jobs[uid] = [job]
        return job

    def finish(self, uid: str) -> None:
        (job,) = self.jobs[uid]
        report = outcome_text(Outcome())
        self.pods[uid] = [
            ObservedPod("r", PAST, job=job.name, exit_code=0, termination_message=report)
        ]

    async def delete_export(self, export: BackupExport) -> None:
        self.deleted.append(export.metadata.uid)

    async def patch_finalizers(self, export: BackupExport, _finalizers: list[str]) -> BackupExport:
        self.released.append(export.metadata.uid)
        return export

    def record(self, _export: BackupExport, event: ExportEvent) -> None:
        self.events.append(event)


class Running:
    """A reconciler at work."""

    def __init__(self, cluster: Cluster) -> None:
        double: Any = cluster
        world = World(exports={}, targets={}, jobs=cluster.jobs, pods=cluster.pods)
        cleanup_jobs = CleanupJobs(double, RunnerDefaults(image="i", claim_name="c"))
        cache = ExportCache(world, 4, None, 2)
        self.reconciler = CleanupReconciler(
            cache, double, double, cleanup_jobs, double, OperatorMetrics()
        )
        self.task = asyncio.create_task(self.reconciler.watch_for_ever())

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not condition():
                await asyncio.sleep(0)

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.reconciler.stop()


async def test_a_file_goes_when_nothing_sends_it_any_more() -> None:
    cluster = Cluster(expired(1), expired(2))
    sender = ObservedPod("s", PAST, job="deliver-telegram-bex-e1", node="n", started_at=PAST)
    cluster.pods["uid-1"] = [sender]
    running = Running(cluster)
    await running.until(lambda: cluster.made == ["uid-2"])
    running.reconciler.ask("uid-1")
    for _ in range(20):
        await asyncio.sleep(0)
    assert cluster.made == ["uid-2"]
    cluster.pods["uid-1"] = [replace(sender, exit_code=0)]
    running.reconciler.ask("uid-1")
    await running.until(lambda: cluster.made == ["uid-2", "uid-1"])
    await running.stop()


async def test_what_has_expired_loses_its_file_and_then_its_resource() -> None:
    cluster = Cluster(expired(1))
    running = Running(cluster)
    await running.until(lambda: cluster.made == ["uid-1"])
    assert cluster.deleted == []
    cluster.finish("uid-1")
    running.reconciler.ask("uid-1")
    await running.until(lambda: cluster.deleted == ["uid-1"])
    await running.stop()


async def test_a_thousand_that_expire_together_take_turns() -> None:
    cluster = Cluster(*(expired(number) for number in range(1000)))
    running = Running(cluster)
    await running.until(lambda: len(cluster.made) == 10)
    await asyncio.sleep(0.05)
    assert len(cluster.made) == 10
    for done in range(300):
        uid = cluster.made[done]
        cluster.finish(uid)
        running.reconciler.ask(uid)
        await running.until(lambda made=done + 11: len(cluster.made) == made)  # type: ignore[misc]
    assert len(set(cluster.made)) == 310
    await running.stop()


async def test_a_removal_whose_export_is_gone_at_the_next_list_frees_its_place() -> None:
    cluster = Cluster(*(expired(number) for number in range(11)))
    running = Running(cluster)
    await running.until(lambda: len(cluster.made) == 10)
    cluster.exports = [
        export for export in cluster.exports if export.metadata.uid != cluster.made[0]
    ]
    running.task.cancel()
    running.task = asyncio.create_task(running.reconciler.watch_for_ever())
    await running.until(lambda: len(cluster.made) == 11)
    await running.stop()


async def test_in_a_namespace_that_ends_it_lets_go() -> None:
    held = {"finalizers": ["backupexport.dev/artifact"], "deletionTimestamp": PAST}
    cluster = Cluster(expired(1, **held))
    cluster.refusal = ApiException(status=403)
    cluster.refusal.body = '{"details": {"causes": [{"reason": "NamespaceTerminating"}]}}'
    running = Running(cluster)
    await running.until(lambda: cluster.released == ["uid-1"])
    await running.stop()


@pytest.mark.parametrize("error", [ApiException(status=410), TypeError("no event")])
async def test_a_watch_that_breaks_begins_anew(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backupexport_operator.kube.finished_exports._PAUSE_SECONDS", 0)
    cluster = Cluster()
    running = Running(cluster)
    await running.until(lambda: cluster.lists == 1)
    cluster.changes.put_nowait(error)
    await running.until(lambda: cluster.lists == 2)
    cluster.changes.put_nowait(("ADDED", expired(1)))
    await running.until(lambda: cluster.made == ["uid-1"])
    await running.stop()
