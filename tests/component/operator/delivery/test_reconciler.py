"""Deliveries of finished exports, over a watch that the test feeds."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

import pytest
from backupexport_contract import names, timestamps
from backupexport_contract.backup_export import BackupExport
from backupexport_contract.deliveries import Deliveries
from backupexport_contract.export_target import ExportTarget
from backupexport_contract.reasons import ExitCode
from backupexport_contract.runner_protocol import Outcome, outcome_text
from backupexport_operator.delivery.reconciler import DeliveryReconciler
from backupexport_operator.manifests.delivery_job import PublicApi
from backupexport_operator.manifests.events import ExportEvent
from backupexport_operator.manifests.pod import RunnerDefaults
from backupexport_operator.observed.export_cache import ExportCache, World
from backupexport_operator.observed.jobs_and_pods import ObservedJob, ObservedPod
from backupexport_operator.telemetry.metrics import OperatorMetrics
from expositions import value
from kubernetes.aio.client.exceptions import ApiException

Answer = TypeVar("Answer")

CHART = Deliveries.model_validate(
    {
        "email": {"host": "mail", "from": "exports@example.com"},
        "telegram": {"secretRef": {"name": "bot"}},
    }
)


def finished(number: int = 1, project_id: str = "p", *kinds: str, **metadata: Any) -> BackupExport:
    now = timestamps.to_text(timestamps.now())
    told = [
        {
            "type": Deliveries.kinds()[kind].condition_type,
            "status": "Unknown",
            "reason": "Pending",
            "message": "Soon.",
            "lastTransitionTime": now,
        }
        for kind in kinds or ("email",)
    ]
    return BackupExport.model_validate(
        {
            "metadata": {
                "name": f"e{number}",
                "namespace": "ns",
                "uid": f"uid-{number}",
                "resourceVersion": "1",
                "creationTimestamp": now,
                **metadata,
            },
            "spec": {"projectId": project_id, "notifyEmail": "a@example.com"},
            "status": {
                "phase": "Succeeded",
                "completionTime": now,
                "conditions": told,
                "deliveryPending": True,
            },
        }
    )


def target(project: str, **deliveries: Any) -> ExportTarget:
    spec = {"projectId": project, "secretRef": {"name": "s"}, "deliveries": deliveries}
    return ExportTarget.model_validate({"metadata": {"name": "t", "uid": "t"}, "spec": spec})


class Cluster:
    """What the reconciler reads, writes and records; `changes` is what its watch tells next."""

    def __init__(self, *exports: BackupExport) -> None:
        self.exports = {export.metadata.uid: export for export in exports}
        self.changes: asyncio.Queue[Any] = asyncio.Queue()
        self.jobs: dict[str, list[ObservedJob]] = {}
        self.pods: dict[str, list[ObservedPod]] = {}
        self.made: list[str] = []
        self.deleted: list[str] = []
        self.events: list[ExportEvent] = []
        self.refusals: list[ApiException] = []
        self.targets = {of.spec.project_id: [target(of.spec.project_id)] for of in exports}
        self.patches = 0
        self.refused = 0
        # Jobs that have a delivery's name and are not the export's.
        self.foreign: dict[str, ObservedJob] = {}
        self.on_delete: Callable[[str], None] = lambda _: None

    async def list_finished(self, _awaiting: str) -> tuple[list[BackupExport], str]:
        return list(self.exports.values()), "1"

    async def watch_finished(
        self, _awaiting: str, _version: str
    ) -> AsyncIterator[tuple[str, BackupExport]]:
        while True:
            yield await self.changes.get()

    async def create_job(self, manifest: dict[str, Any]) -> ObservedJob:
        if self.refusals:
            self.refused += 1
            raise self.refusals.pop()
        if found := self.foreign.get(manifest["metadata"]["name"]):
            return found
        labels = manifest["metadata"]["labels"]
        uid = labels["backupexport.dev/export-uid"]
        job = ObservedJob(
            manifest["metadata"]["name"],
            uid,
            uid=f"job-{len(self.made)}",
            export_uid=uid,
            task=labels["backupexport.dev/task"],
            created_at=timestamps.to_text(timestamps.now()),
        )
        if job.name not in [known.name for known in self.jobs.get(uid, [])]:
            self.made.append(job.name)
            self.jobs.setdefault(uid, []).append(job)
        return job

    async def delete_job(self, job: ObservedJob) -> None:
        self.deleted.append(job.name)
        self.jobs[job.owner_uid].remove(job)
        self.on_delete(job.owner_uid)

    async def patch_export_status(
        self, export: BackupExport, patch: dict[str, Any]
    ) -> BackupExport | None:
        status = export.status.to_manifest() | patch
        data = export.to_manifest() | {"status": {k: v for k, v in status.items() if v is not None}}
        updated = BackupExport.model_validate(data)
        self.exports[export.metadata.uid] = updated
        self.patches += 1
        # The watch tells the operator of its own writes, too.
        going_on = updated.status.delivery_pending
        self.changes.put_nowait(("MODIFIED" if going_on else "DELETED", updated))
        return updated

    async def list_targets(self, project_id: str) -> list[ExportTarget]:
        return self.targets.get(project_id, [])

    async def list_jobs(self, uid: str) -> list[ObservedJob]:
        return list(self.jobs.get(uid, []))

    async def list_pods(self, uid: str) -> list[ObservedPod]:
        return list(self.pods.get(uid, []))

    def record(self, _export: BackupExport, event: ExportEvent) -> None:
        self.events.append(event)

    def end(self, number: int, kind: str, code: int, message: str, ago: float = 0) -> None:
        """The attempt's Job ends."""
        uid = f"uid-{number}"
        name = names.task_job_name(f"e{number}", f"deliver-{kind}")
        (job,) = [job for job in self.jobs[uid] if job.name == name]
        self.jobs[uid].remove(job)
        failed_at = timestamps.to_text(
            timestamps.from_text(job.created_at) - timedelta(seconds=ago)
        )
        ended = ObservedJob(
            job.name,
            uid,
            uid=job.uid,
            export_uid=uid,
            task=job.task,
            created_at=job.created_at,
            complete=code == 0,
            failure=None if code == 0 else "BackoffLimitExceeded",
            failed_at=failed_at,
        )
        self.jobs[uid].append(ended)
        self.pods[uid] = [
            ObservedPod(
                f"pod-{len(self.made)}",
                job.created_at,
                job=name,
                job_uid=job.uid,
                exit_code=code,
                termination_message=outcome_text(Outcome(message=message)),
            )
        ]

    def told(self, number: int = 1) -> dict[str, tuple[str, str]]:
        conditions = self.exports[f"uid-{number}"].status.conditions
        return {condition.type: (condition.status, condition.reason) for condition in conditions}


class Running:
    """A reconciler at work."""

    def __init__(self, cluster: Cluster, chart: Deliveries = CHART) -> None:
        double: Any = cluster
        # As the watch told of them.
        self.targets = dict(cluster.targets)
        world = World(exports={}, targets=self.targets, jobs=cluster.jobs, pods=cluster.pods)
        self.metrics = OperatorMetrics()
        self.reconciler = DeliveryReconciler(
            ExportCache(world, 4, None, 2, chart),
            double,
            double,
            double,
            RunnerDefaults(image="i", claim_name="c"),
            PublicApi(),
            self.metrics,
        )
        # As the watch of Jobs does.
        cluster.on_delete = self.reconciler.ask
        self.task = asyncio.create_task(self.reconciler.watch_for_ever())

    def pending(self, kind: str) -> int:
        return self.reconciler.pending()[kind].count

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not condition():
                await asyncio.sleep(0.005)

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.reconciler.stop()


async def test_a_mail_from_its_job_to_its_end() -> None:
    cluster = Cluster(finished())
    running = Running(cluster)
    await running.until(lambda: cluster.made == ["deliver-email-bex-e1"])
    assert running.pending("email") == 1
    cluster.end(1, "email", 0, "The mail server took it.")
    running.reconciler.ask("uid-1")
    await running.until(lambda: cluster.told() == {"Notified": ("True", "Succeeded")})
    assert cluster.exports["uid-1"].status.delivery_pending is None
    assert cluster.events == [ExportEvent("Normal", "Notified", "email: The mail server took it.")]
    total = "backupexport_deliveries_total"
    assert value(running.metrics.registry, total, kind="email", reason="Succeeded") == 1
    assert running.pending("email") == 0
    await running.stop()


async def test_one_kind_fails_and_the_other_goes_on() -> None:
    cluster = Cluster(finished(1, "p", "email", "telegram"))
    running = Running(cluster)
    await running.until(lambda: len(cluster.made) == 2)
    cluster.end(1, "email", ExitCode.DELIVERY_REFUSED, "No such mailbox.")
    running.reconciler.ask("uid-1")
    await running.until(lambda: cluster.told()["Notified"] == ("False", "Refused"))
    assert cluster.exports["uid-1"].status.delivery_pending
    assert cluster.exports["uid-1"].phase == "Succeeded"
    cluster.end(1, "telegram", 0, "Sent.")
    running.reconciler.ask("uid-1")
    await running.until(lambda: cluster.told()["Delivered"] == ("True", "Succeeded"))
    assert cluster.exports["uid-1"].status.delivery_pending is None
    assert sorted(cluster.made) == ["deliver-email-bex-e1", "deliver-telegram-bex-e1"]
    await running.stop()


async def test_what_may_heal_gets_another_job() -> None:
    cluster = Cluster(finished())
    running = Running(cluster)
    await running.until(lambda: len(cluster.made) == 1)
    cluster.end(1, "email", ExitCode.CONNECTION_FAILED, "Away.", ago=10)
    running.reconciler.ask("uid-1")
    await running.until(lambda: len(cluster.made) == 2)
    assert cluster.deleted == ["deliver-email-bex-e1"]
    assert cluster.told() == {"Notified": ("Unknown", "Pending")}
    await running.stop()


async def test_one_delivery_of_a_project_at_a_time() -> None:
    cluster = Cluster(finished(1, "a"), finished(2, "a"), finished(3, "b"))
    running = Running(cluster)
    await running.until(lambda: len(cluster.made) == 2)
    first = cluster.made[0]
    assert first == "deliver-email-bex-e1"
    assert cluster.made[1] == "deliver-email-bex-e3"
    cluster.end(1, "email", 0, "Sent.")
    running.reconciler.ask("uid-1")
    await running.until(lambda: len(cluster.made) == 3)
    await running.stop()


async def test_a_restart_finds_what_is_under_way() -> None:
    cluster = Cluster(finished(1, "a"), finished(2, "a"))
    running = Running(cluster)
    await running.until(lambda: len(cluster.made) == 1)
    await running.stop()
    running = Running(cluster)
    running.reconciler.ask("uid-2")
    await running.until(lambda: running.pending("email") == 2)
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(cluster.made) == 1
    cluster.end(1, "email", 0, "Sent.")
    running.reconciler.ask("uid-1")
    await running.until(lambda: len(cluster.made) == 2)
    assert cluster.made == ["deliver-email-bex-e1", "deliver-email-bex-e2"]
    await running.stop()


def quota_refusal() -> ApiException:
    error = ApiException(status=403, reason="Forbidden")
    error.body = '{"message": "jobs is forbidden: exceeded quota: team"}'
    return error


async def test_a_refused_job_is_told_and_not_asked_for_again_at_once() -> None:
    cluster = Cluster(finished(1, "a"), finished(2, "b"))
    cluster.refusals = [quota_refusal()] * 50
    running = Running(cluster)
    await running.until(lambda: cluster.told() == {"Notified": ("Unknown", "Internal")})
    assert cluster.events[0].reason == "DeliveryDelayed"
    assert "exceeded quota" in cluster.events[0].message
    for _ in range(20):
        running.reconciler.ask("uid-1")
        running.reconciler.ask("uid-2")
        await asyncio.sleep(0.01)
    # One refusal stands for all of the kind.
    assert (cluster.refused, cluster.patches) == (1, 1)
    await running.stop()


async def test_all_that_wait_come_to_an_end_when_it_is_turned_off() -> None:
    """Each is woken in vain: none of them needs the place any more."""
    cluster = Cluster(*(finished(number, "p") for number in range(1, 6)))
    running = Running(cluster)
    await running.until(lambda: len(cluster.made) == 1)
    cluster.targets["p"] = [target("p", email={"enabled": False})]
    running.targets.update(cluster.targets)
    running.reconciler.ask("uid-1")
    await running.until(
        lambda: all(
            cluster.told(number) == {"Notified": ("False", "NotConfigured")}
            for number in range(1, 6)
        )
    )
    await running.stop()


async def test_a_job_that_is_refused_for_itself_keeps_nobody_else_waiting() -> None:
    cluster = Cluster(finished(1, "a"), finished(2, "b"))
    cluster.refusals = [ApiException(status=403, reason="a webhook says no")]
    running = Running(cluster)
    await running.until(lambda: len(cluster.made) == 1)
    assert cluster.made == ["deliver-email-bex-e2"]
    await running.stop()


async def test_writes_come_to_an_end() -> None:
    """What the operator writes comes back to it, and must not make it write again."""
    cluster = Cluster(finished())
    running = Running(cluster)
    await running.until(lambda: len(cluster.made) == 1)
    cluster.end(1, "email", ExitCode.CONNECTION_FAILED, "Away.")
    (job,) = cluster.jobs["uid-1"]
    cluster.jobs["uid-1"] = [replace(job, failure="DeadlineExceeded")]
    running.reconciler.ask("uid-1")
    await running.until(lambda: cluster.told() == {"Notified": ("Unknown", "DeadlineExceeded")})
    before = cluster.patches
    for _ in range(20):
        running.reconciler.ask("uid-1")
        await asyncio.sleep(0.01)
    assert cluster.patches == before
    await running.stop()


async def test_what_cannot_be_taken_back_rests_on_what_is_read_afresh() -> None:
    """The watches have not told yet that the target now has another chat than the chart."""
    cluster = Cluster(finished(1, "p", "telegram"))
    secrets: list[str] = []
    create = cluster.create_job

    async def look(manifest: dict[str, Any]) -> ObservedJob:
        (container,) = manifest["spec"]["template"]["spec"]["containers"]
        secrets.append(container["envFrom"][0]["secretRef"]["name"])
        return await create(manifest)

    cluster.create_job = look  # type: ignore[method-assign]
    running = Running(cluster)
    cluster.targets["p"] = [target("p", telegram={"secretRef": {"name": "own-bot"}})]
    await running.until(lambda: len(cluster.made) == 1)
    assert secrets == ["own-bot"]
    await running.stop()


async def test_settings_of_a_target_alone_are_found_too() -> None:
    cluster = Cluster(finished(1, "p", "telegram"))
    cluster.targets.clear()
    running = Running(cluster, Deliveries())
    # The watch tells of the target a little later than of the export.
    await running.until(lambda: cluster.told()["Delivered"] == ("Unknown", "NotConfigured"))
    assert running.pending("telegram") == 0
    cluster.targets["p"] = [target("p", telegram={"secretRef": {"name": "own-bot"}})]
    running.targets.update(cluster.targets)
    running.reconciler.project_changed("other")
    running.reconciler.project_changed("p")
    await running.until(lambda: len(cluster.made) == 1)
    running.reconciler.ask("uid-1")
    await running.until(lambda: running.pending("telegram") == 1)
    assert cluster.told()["Delivered"] == ("Unknown", "InProgress")
    await running.stop()


async def test_another_ones_job_is_in_the_way() -> None:
    """One that the watch tells nothing of, because it is not labelled as this export's."""
    cluster = Cluster(finished(1, "a"), finished(2, "a"))
    name = "deliver-email-bex-e1"
    cluster.foreign = {name: ObservedJob(name, "somebody", created_at="2026-01-29T15:30:00Z")}
    running = Running(cluster)
    await running.until(lambda: len(cluster.made) == 1)
    assert cluster.made == ["deliver-email-bex-e2"]
    assert cluster.told() == {"Notified": ("Unknown", "Pending")}
    await running.stop()


async def test_a_delivery_that_is_turned_off_is_stopped() -> None:
    cluster = Cluster(finished(1, "p", "email", "telegram"), finished(2, "p", "telegram"))
    running = Running(cluster)
    await running.until(lambda: len(cluster.made) == 2)
    cluster.targets["p"] = [target("p", telegram={"enabled": False})]
    running.targets.update(cluster.targets)
    running.reconciler.ask("uid-1")
    await running.until(lambda: cluster.told()["Delivered"] == ("False", "NotConfigured"))
    assert cluster.deleted == ["deliver-telegram-bex-e1"]
    # Its place is free, though the export's other delivery is still made.
    await running.until(lambda: cluster.told(2)["Delivered"] == ("False", "NotConfigured"))
    await running.stop()


async def test_nothing_is_delivered_of_an_export_that_is_deleted() -> None:
    cluster = Cluster(finished(1, "a", "email", "telegram"), finished(2, "a"))
    running = Running(cluster)
    await running.until(lambda: len(cluster.made) == 2)
    deleted = finished(1, "a", "email", deletionTimestamp="2026-01-29T15:30:00Z", finalizers=["x"])
    cluster.exports["uid-1"] = deleted
    cluster.changes.put_nowait(("MODIFIED", deleted))
    await running.until(lambda: len(cluster.made) == 3)
    assert cluster.deleted == ["deliver-email-bex-e1", "deliver-telegram-bex-e1"]
    assert cluster.made[2] == "deliver-email-bex-e2"
    running.reconciler.ask("uid-1")
    await asyncio.sleep(0.02)
    assert len(cluster.made) == 3
    await running.stop()


class Dying(Cluster):
    """The operator dies at its n-th write: just before the API server gets it, or just after."""

    def __init__(self, *exports: BackupExport, at: int, before: bool) -> None:
        super().__init__(*exports)
        self.at = at
        self.before = before
        self.writes = 0
        self.died = asyncio.Event()

    async def create_job(self, manifest: dict[str, Any]) -> ObservedJob:
        return await self.write(super().create_job(manifest))

    async def delete_job(self, job: ObservedJob) -> None:
        await self.write(super().delete_job(job))

    async def patch_export_status(
        self, export: BackupExport, patch: dict[str, Any]
    ) -> BackupExport | None:
        return await self.write(super().patch_export_status(export, patch))

    async def write(self, effect: Coroutine[Any, Any, Answer]) -> Answer:
        self.writes += 1
        if self.writes != self.at:
            return await effect
        if self.before:
            effect.close()
        else:
            await effect
        self.died.set()
        await asyncio.sleep(3600)
        raise AssertionError("nobody stopped it")


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("at", range(1, 5))
async def test_the_operators_death_at_any_write(at: int, before: bool) -> None:
    """A first attempt fails, a second goes well, and the operator dies somewhere on the way."""
    cluster = Dying(finished(), at=at, before=before)
    running = [Running(cluster)]
    deaths: list[int] = []

    async def until(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not condition():
                if cluster.died.is_set():
                    cluster.died.clear()
                    await running.pop().stop()
                    running.append(Running(cluster))
                    deaths.append(at)
                await asyncio.sleep(0.005)

    await until(lambda: len(cluster.made) == 1)
    cluster.end(1, "email", ExitCode.CONNECTION_FAILED, "Away.", ago=10)
    running[0].reconciler.ask("uid-1")
    await until(lambda: len(cluster.made) == 2)
    cluster.end(1, "email", 0, "Sent.")
    running[0].reconciler.ask("uid-1")
    await until(lambda: cluster.told() == {"Notified": ("True", "Succeeded")})
    assert cluster.exports["uid-1"].status.delivery_pending is None
    assert len(cluster.made) == 2
    assert cluster.deleted.count("deliver-email-bex-e1") in (1, 2)
    await running[0].stop()
    assert deaths == [at] or cluster.died.is_set()
