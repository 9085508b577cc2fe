"""Observe, decide, apply together, against a cluster that is a few dictionaries."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from backupexport_contract import timestamps
from backupexport_contract.backup_export import BackupExport
from backupexport_contract.export_target import ExportTarget
from backupexport_contract.names import job_name
from backupexport_contract.reasons import ExitCode, Phase, Reason
from backupexport_contract.runner_protocol import Artifact, Outcome, Progress, outcome_text
from backupexport_operator.cleanup.jobs import CleanupJobs
from backupexport_operator.export.reconciler import ExportReconciler
from backupexport_operator.export.start_queue import StartQueue
from backupexport_operator.manifests.events import ExportEvent
from backupexport_operator.manifests.pod import RunnerDefaults
from backupexport_operator.observed.export_cache import ExportCache, World
from backupexport_operator.observed.jobs_and_pods import ObservedJob, ObservedPod
from backupexport_operator.observed.observation import Snapshot
from backupexport_operator.target.reconciler import TargetReconciler
from backupexport_operator.telemetry.metrics import OperatorMetrics
from kubernetes.aio.client.exceptions import ApiException

UID = "uid-1"
# Old enough for whoever waits a moment for a target.
CREATED = timestamps.to_text(timestamps.now() - timedelta(seconds=30))
# Always young, however long the tests take.
JOB = ObservedJob(
    name=job_name("nightly"),
    owner_uid=UID,
    created_at=timestamps.to_text(timestamps.now() + timedelta(hours=1)),
)
RUNNING = ObservedPod(
    name="pod-a", created_at="t", job=JOB.name, node="node-1", started_at="2026-01-29T15:30:01Z"
)
ARTIFACT = Artifact("p/f", 1, 2, "ab", "17.5", "17.6")
DONE = replace(RUNNING, exit_code=0, termination_message=outcome_text(Outcome(ARTIFACT)))


def export(**status: Any) -> BackupExport:
    return BackupExport.model_validate(
        {
            "metadata": {
                "name": "nightly",
                "namespace": "ns",
                "uid": UID,
                "resourceVersion": "1",
                "creationTimestamp": CREATED,
            },
            "spec": {"projectId": "p"},
            "status": status,
        }
    )


TARGET = ExportTarget.model_validate(
    {
        "metadata": {"name": "t", "uid": "t", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"projectId": "p", "secretRef": {"name": "s"}},
    }
)


@dataclass
class Cluster:
    """The API server's truth, and what the watches have told of it so far."""

    exports: dict[str, BackupExport] = field(default_factory=dict)
    jobs: dict[str, ObservedJob] = field(default_factory=dict)
    pods: list[ObservedPod] = field(default_factory=list)
    events: list[ExportEvent] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    refuse_jobs: int | None = None
    targets: list[ExportTarget] = field(default_factory=lambda: [TARGET])

    async def create_job(self, manifest: dict[str, Any]) -> ObservedJob:
        self.requests.append("create job")
        if self.refuse_jobs is not None:
            refusal = ApiException(status=self.refuse_jobs, reason="Refused")
            refusal.body = '{"message": "exceeded quota: count/jobs.batch"}'
            raise refusal
        name = manifest["metadata"]["name"]
        task = manifest["metadata"]["labels"]["backupexport.dev/task"]
        owner = UID if "ownerReferences" in manifest["metadata"] else ""
        made = replace(JOB, name=name, task=task, owner_uid=owner, export_uid=UID)
        return self.jobs.setdefault(name, made)

    async def list_jobs(self, _uid: str) -> list[ObservedJob]:
        self.requests.append("list jobs")
        return list(self.jobs.values())

    async def snapshot(self) -> Snapshot:
        self.requests.append("snapshot")
        jobs, pods = frozenset(self.jobs.values()), frozenset(self.pods)
        unfinished = {e.metadata.uid: e for e in self.exports.values() if not e.phase.is_finished}
        return Snapshot(unfinished, {}, {UID: jobs} if jobs else {}, {UID: pods} if pods else {})

    async def delete_job(self, job: ObservedJob) -> None:
        self.requests.append("delete job")
        self.jobs.pop(job.name, None)

    async def list_pods(self, _uid: str) -> list[ObservedPod]:
        self.requests.append("list pods")
        return self.pods

    async def list_targets(self, _project: str) -> list[ExportTarget]:
        self.requests.append("list targets")
        return self.targets

    async def read_export(self, name: str) -> BackupExport | None:
        self.requests.append("read export")
        return self.exports.get(name)

    async def patch_export_status(
        self, of: BackupExport, patch: dict[str, Any]
    ) -> BackupExport | None:
        self.requests.append("patch status")
        stored = self.exports.get(of.metadata.name)
        if stored is None:
            return None
        status = {k: v for k, v in (stored.status.to_manifest() | patch).items() if v is not None}
        version = str(int(stored.metadata.resource_version) + 1)
        stored = stored.model_copy(
            update={
                "status": type(stored.status).model_validate(status),
                "metadata": stored.metadata.model_copy(update={"resource_version": version}),
            }
        )
        self.exports[of.metadata.name] = stored
        return stored

    async def patch_target_status(self, _target: ExportTarget, patch: dict[str, Any]) -> None:
        self.requests.append(f"target {patch['conditions'][0]['reason']}")

    async def patch_finalizers(
        self, of: BackupExport, finalizers: list[str]
    ) -> BackupExport | None:
        self.requests.append("patch finalizers")
        stored = self.exports.get(of.metadata.name)
        if stored is None:
            return None
        version = str(int(stored.metadata.resource_version) + 1)
        changes = {"resource_version": version, "finalizers": finalizers}
        metadata = stored.metadata.model_copy(update=changes)
        self.exports[of.metadata.name] = stored.model_copy(update={"metadata": metadata})
        return self.exports[of.metadata.name]

    def record(self, _export: BackupExport, event: ExportEvent) -> None:
        self.events.append(event)


async def _answer(value: Any) -> Any:
    return value


class Followed:
    """Which pods' logs are being followed."""

    def __init__(self) -> None:
        self.pods: dict[str, str] = {}

    def follow(self, uid: str, pod: str) -> None:
        self.pods[uid] = pod

    def forget(self, uid: str) -> None:
        self.pods.pop(uid, None)


class Watched:
    """An operator over a Cluster; `look` is the moment the watches catch up."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.indexes: dict[str, dict[str, list[Any]]] = {
            "exports": {}, "targets": {"p": [TARGET]}, "jobs": {}, "pods": {},
        }  # fmt: skip
        self.followed = Followed()
        defaults = RunnerDefaults(image="i", claim_name="c")
        double: Any = cluster
        self.cache = ExportCache(World(**self.indexes), 4, None, progress_seconds=0.01)
        self.reconciler = ExportReconciler(
            self.cache,
            double,
            double,
            CleanupJobs(double, defaults),
            double,
            self.followed,  # type: ignore[arg-type]
            defaults,
            StartQueue(20),
            OperatorMetrics(),
        )
        self.look()

    def look(self) -> None:
        for export_seen in self.cluster.exports.values():
            self.indexes["exports"][UID] = [export_seen]
        self.indexes["jobs"] |= {UID: list(self.cluster.jobs.values())}
        self.indexes["pods"] |= {UID: list(self.cluster.pods)}

    async def reconcile(self) -> BackupExport:
        await self.reconciler._reconcile(UID)
        # What that run asked for: a status is written in a run after its Job's.
        while self.reconciler.queue.length:
            await asyncio.sleep(0)
        return self.cluster.exports["nightly"]


@pytest.fixture
def watched() -> Callable[..., Watched]:
    def make(cluster: Cluster | None = None, **status: Any) -> Watched:
        cluster = cluster or Cluster()
        cluster.exports["nightly"] = export(**status)
        return Watched(cluster)

    return make


async def test_from_creation_to_success_in_few_requests(watched: Callable[..., Watched]) -> None:
    operator = watched()
    cluster = operator.cluster
    assert (await operator.reconcile()).status.job_name == JOB.name
    cluster.pods = [RUNNING]
    operator.look()
    assert (await operator.reconcile()).phase == Phase.RUNNING
    assert operator.followed.pods == {UID: "pod-a"}
    cluster.pods = [DONE]
    operator.look()
    assert (await operator.reconcile()).phase == Phase.SUCCEEDED
    assert operator.followed.pods == {}
    assert cluster.requests == ["create job", "patch status", "patch status", "patch status"]
    assert [event.reason for event in cluster.events] == ["Accepted", "Started", "Completed"]


async def test_reconciling_twice_changes_nothing(watched: Callable[..., Watched]) -> None:
    operator = watched()
    await operator.reconcile()
    operator.look()
    before = list(operator.cluster.requests)
    await operator.reconcile()
    assert operator.cluster.requests == before


async def test_what_was_written_counts_before_the_watch_brings_it_back(
    watched: Callable[..., Watched],
) -> None:
    operator = watched()
    await operator.reconcile()
    operator.indexes["jobs"] |= {UID: list(operator.cluster.jobs.values())}
    before = list(operator.cluster.requests)
    await operator.reconcile()
    assert operator.cluster.requests == before


async def test_a_job_that_the_watch_has_not_told_yet_is_not_called_deleted(
    watched: Callable[..., Watched],
) -> None:
    operator = watched()
    await operator.reconcile()
    assert (await operator.reconcile()).phase == Phase.PENDING
    assert operator.cluster.requests == ["create job", "patch status"]


async def test_a_job_that_a_new_process_has_not_been_told_of_is_not_called_deleted(
    watched: Callable[..., Watched],
) -> None:
    operator = watched(Cluster(jobs={JOB.name: JOB}), phase="Pending", jobName=JOB.name)
    operator.indexes["jobs"].clear()
    assert (await operator.reconcile()).status.reason is None
    assert "list jobs" in operator.cluster.requests


async def test_a_jobs_end_seen_before_its_pods_is_no_failure(
    watched: Callable[..., Watched],
) -> None:
    finished = replace(JOB, complete=True)
    operator = watched(
        Cluster(jobs={JOB.name: finished}, pods=[DONE]), phase="Running", jobName=JOB.name
    )
    operator.indexes["pods"] |= {UID: [RUNNING]}
    assert (await operator.reconcile()).phase == Phase.SUCCEEDED


async def test_a_failures_reason_is_the_pods_even_where_the_job_is_seen_first(
    watched: Callable[..., Watched],
) -> None:
    failed = replace(JOB, failure="PodFailurePolicy")
    said = outcome_text(Outcome(message="Correct the password."))
    pod = replace(RUNNING, exit_code=ExitCode.AUTHENTICATION_FAILED, termination_message=said)
    operator = watched(
        Cluster(jobs={JOB.name: failed}, pods=[pod]), phase="Running", jobName=JOB.name
    )
    operator.indexes["pods"] |= {UID: [RUNNING]}
    status = (await operator.reconcile()).status
    assert (status.phase, status.reason) == (Phase.FAILED, Reason.AUTHENTICATION_FAILED)
    assert status.message == "Correct the password."


async def test_a_job_that_was_made_before_a_crash_is_found_again(
    watched: Callable[..., Watched],
) -> None:
    operator = watched(Cluster(jobs={JOB.name: JOB}))
    operator.indexes["jobs"] |= {UID: []}
    await operator.reconcile()
    assert list(operator.cluster.jobs) == [JOB.name]
    assert operator.cluster.exports["nightly"].status.job_name == JOB.name


async def test_a_refused_job_says_so_and_is_tried_again(watched: Callable[..., Watched]) -> None:
    operator = watched(Cluster(refuse_jobs=403))
    with pytest.raises(ApiException):
        await operator.reconcile()
    status = operator.cluster.exports["nightly"].status
    assert (status.phase, status.reason) == (Phase.PENDING, Reason.INTERNAL)
    operator.cluster.refuse_jobs = None
    operator.look()
    assert (await operator.reconcile()).status.reason is None


async def test_the_job_of_a_namesake_that_was_deleted_is_waited_for(
    watched: Callable[..., Watched],
) -> None:
    operator = watched(Cluster(jobs={JOB.name: replace(JOB, owner_uid="uid-0", deleting=True)}))
    operator.indexes["jobs"] |= {UID: []}
    status = (await operator.reconcile()).status
    assert (status.phase, status.job_name) == (Phase.PENDING, None)
    assert operator.cluster.events[0].type == "Warning"
    operator.cluster.jobs.clear()
    operator.indexes["exports"][UID] = [operator.cluster.exports["nightly"]]
    assert (await operator.reconcile()).status.job_name == JOB.name


async def test_a_target_that_the_watch_has_not_told_yet_is_found(
    watched: Callable[..., Watched],
) -> None:
    operator = watched()
    operator.indexes["targets"].clear()
    assert (await operator.reconcile()).phase == Phase.PENDING
    assert "list targets" in operator.cluster.requests


async def test_the_resync_finds_what_a_watch_has_missed(watched: Callable[..., Watched]) -> None:
    operator = watched(
        Cluster(jobs={JOB.name: JOB}, pods=[RUNNING]), phase="Running", jobName=JOB.name
    )
    operator.cluster.jobs.clear()
    operator.cluster.pods = []
    operator.reconciler.resync(await operator.cluster.snapshot())
    assert (await operator.reconcile()).status.reason == Reason.JOB_DELETED
    await operator.reconciler.stop()


async def test_the_resync_finds_that_an_export_is_gone(watched: Callable[..., Watched]) -> None:
    operator = watched()
    operator.cluster.exports.clear()
    operator.reconciler.resync(await operator.cluster.snapshot())
    await operator.reconciler._reconcile(UID)
    await operator.reconciler._reconcile(UID)
    await operator.reconciler.stop()
    before = list(operator.cluster.requests)
    await operator.reconciler._reconcile(UID)
    assert operator.cluster.requests == before
    assert "create job" not in before


async def test_progress_reaches_the_status(watched: Callable[..., Watched]) -> None:
    operator = watched(
        Cluster(jobs={JOB.name: JOB}, pods=[RUNNING]), phase="Running", jobName=JOB.name
    )
    operator.cache.note_progress(UID, Progress(42, 42, 100))
    progress = (await operator.reconcile()).status.progress
    assert progress is not None
    assert progress.percent == 42


async def test_an_export_that_is_gone_is_forgotten(watched: Callable[..., Watched]) -> None:
    operator = watched()
    operator.indexes["exports"].clear()
    operator.followed.follow(UID, "pod-a")
    await operator.reconciler._reconcile(UID)
    assert operator.cluster.requests == []
    assert operator.followed.pods == {}


async def test_a_targets_condition_is_written_once(watched: Callable[..., Watched]) -> None:
    operator = watched()
    double: Any = operator.cluster
    targets = TargetReconciler({"p": [TARGET]}, double, OperatorMetrics())
    await targets._reconcile("p")
    assert operator.cluster.requests == ["target Serving"]


KILLED = replace(RUNNING, exit_code=137)


async def test_a_verdict_waits_for_the_cleanup_of_what_was_killed(
    watched: Callable[..., Watched],
) -> None:
    failed = replace(JOB, failure="BackoffLimitExceeded", pods_made=1)
    operator = watched(
        Cluster(jobs={JOB.name: failed}, pods=[KILLED]), phase="Running", jobName=JOB.name
    )
    cluster = operator.cluster
    assert (await operator.reconcile()).phase == Phase.RUNNING
    assert f"tidy-{JOB.name}" in cluster.jobs
    tidied = cluster.jobs[f"tidy-{JOB.name}"]
    cluster.jobs[tidied.name] = replace(tidied, complete=True)
    report = ObservedPod("tidier", "t", job=tidied.name, exit_code=0, termination_message="{}")
    cluster.pods = [KILLED, report]
    operator.look()
    status = (await operator.reconcile()).status
    assert (status.phase, status.reason) == (Phase.FAILED, Reason.INTERNAL)


async def test_a_cleanup_that_is_refused_does_not_keep_the_verdict(
    watched: Callable[..., Watched],
) -> None:
    failed = replace(JOB, failure="BackoffLimitExceeded", pods_made=1)
    cluster = Cluster(jobs={JOB.name: failed}, pods=[KILLED], refuse_jobs=403)
    operator = watched(cluster, phase="Running", jobName=JOB.name)
    with pytest.raises(ApiException):
        await operator.reconcile()
    assert cluster.exports["nightly"].phase == Phase.RUNNING, "a quota may pass"
    cluster.refuse_jobs = 422
    assert (await operator.reconcile()).phase == Phase.FAILED


async def test_a_copy_of_the_job_with_all_its_labels_is_not_taken_for_it(
    watched: Callable[..., Watched],
) -> None:
    copy = replace(JOB, name="a-copy", owner_uid="")
    stray = replace(RUNNING, name="a-copy-1", job="a-copy", exit_code=29)
    operator = watched(
        Cluster(jobs={JOB.name: JOB, "a-copy": copy}, pods=[RUNNING, stray]),
        phase="Running",
        jobName=JOB.name,
    )
    assert (await operator.reconcile()).phase == Phase.RUNNING


async def test_a_running_export_that_is_deleted_leaves_no_partial_file(
    watched: Callable[..., Watched],
) -> None:
    operator = watched(
        Cluster(jobs={JOB.name: JOB}, pods=[RUNNING]), phase="Running", jobName=JOB.name
    )
    cluster, deleted = operator.cluster, operator.cluster.exports.pop("nightly")
    operator.indexes["exports"].clear()
    operator.reconciler.departed(deleted)
    await operator.reconciler._reconcile(UID)
    assert list(cluster.jobs) == [JOB.name], "its Job is still being deleted"
    operator.indexes["jobs"].clear()
    operator.indexes["pods"].clear()
    operator.cache.note_lost_job(UID, JOB)
    operator.cache.note_lost_pod(UID, RUNNING)
    cluster.refuse_jobs = 503
    with pytest.raises(ApiException):
        await operator.reconciler._reconcile(UID)
    cluster.refuse_jobs = None
    await operator.reconciler._reconcile(UID)
    assert f"tidy-{JOB.name}" in cluster.jobs
    await operator.reconciler.stop()


async def test_the_cleanup_of_a_namesake_is_not_taken_for_ones_own(
    watched: Callable[..., Watched],
) -> None:
    failed = replace(JOB, failure="BackoffLimitExceeded", pods_made=1)
    name = f"tidy-{JOB.name}"
    other = replace(JOB, name=name, task="tidy", owner_uid="", export_uid="uid-0")
    operator = watched(
        Cluster(jobs={JOB.name: failed}, pods=[KILLED]), phase="Running", jobName=JOB.name
    )
    operator.cluster.list_jobs = lambda _uid: _answer([failed])  # type: ignore[method-assign]
    operator.cluster.jobs[name] = other
    with pytest.raises(ApiException):
        await operator.reconcile()
    assert operator.cluster.jobs[name] == other, "it still works"
    operator.cluster.jobs[name] = replace(other, complete=True)
    with pytest.raises(ApiException):
        await operator.reconcile()
    assert (await operator.reconcile()).phase == Phase.RUNNING
    assert operator.cluster.jobs[name].export_uid == UID


async def test_an_export_that_has_ended_is_not_taken_for_a_deleted_one(
    watched: Callable[..., Watched],
) -> None:
    operator = watched(
        Cluster(jobs={JOB.name: JOB}, pods=[DONE]), phase="Running", jobName=JOB.name
    )
    before = operator.cluster.exports["nightly"]
    assert (await operator.reconcile()).phase == Phase.SUCCEEDED
    requests = list(operator.cluster.requests)
    operator.indexes["exports"].clear()
    operator.reconciler.departed(before)
    await operator.reconciler._reconcile(UID)
    assert operator.cluster.requests == requests
    await operator.reconciler.stop()


async def test_an_export_that_no_watch_told_of_is_found_by_the_resync(
    watched: Callable[..., Watched],
) -> None:
    operator = watched()
    operator.indexes["exports"].clear()
    operator.reconciler.resync(await operator.cluster.snapshot())
    assert (await operator.reconcile()).status.job_name == JOB.name
    await operator.reconciler.stop()


async def test_the_resync_reads_nothing_afresh_where_the_watches_agree(
    watched: Callable[..., Watched],
) -> None:
    operator = watched(
        Cluster(jobs={JOB.name: JOB}, pods=[RUNNING]), phase="Running", jobName=JOB.name
    )
    operator.reconciler.resync(await operator.cluster.snapshot())
    await operator.reconcile()
    assert "read export" not in operator.cluster.requests
    await operator.reconciler.stop()


async def test_a_file_that_is_to_go_with_its_export_holds_it_before_its_job_is_made(
    watched: Callable[..., Watched],
) -> None:
    operator = watched()
    spec = operator.cluster.exports["nightly"].spec.model_copy(update={"artifact_policy": "Delete"})
    held = operator.cluster.exports["nightly"].model_copy(update={"spec": spec})
    operator.cluster.exports["nightly"] = held
    operator.look()
    stored = await operator.reconcile()
    assert stored.metadata.finalizers == ["backupexport.dev/artifact"]
    assert operator.cluster.requests == ["patch finalizers", "create job", "patch status"]


async def test_progress_is_written_at_most_once_in_its_time(
    watched: Callable[..., Watched],
) -> None:
    operator = watched(
        Cluster(jobs={JOB.name: JOB}, pods=[RUNNING]), phase="Running", jobName=JOB.name
    )
    operator.cache._progress_seconds = 3600
    operator.cache.note_progress(UID, Progress(1, 1, 100))
    await operator.reconcile()
    operator.look()
    delay = operator.cache.note_progress(UID, Progress(2, 2, 100))
    assert delay is not None
    assert delay > 3500
    before = list(operator.cluster.requests)
    await operator.reconcile()
    assert operator.cluster.requests == before
    assert operator.cache.note_progress(UID, Progress(2, 2, 100)) is None


async def test_a_restarted_operator_counts_who_runs_before_it_lets_anyone_in() -> None:
    """Of two exports of one project, one with a Job; the other is asked for first."""
    cluster = Cluster(jobs={JOB.name: JOB})
    cluster.exports["nightly"] = export()
    operator = Watched(cluster)
    other = export(jobName="bex-other", phase="Running")
    other = other.model_copy(
        update={"metadata": other.metadata.model_copy(update={"uid": "uid-2", "name": "other"})}
    )
    operator.indexes["exports"]["uid-2"] = [other]
    operator.indexes["jobs"][UID] = []
    status = (await operator.reconcile()).status
    assert status.job_name is None
    assert "Waiting for its turn" in (status.message or "")


async def test_what_anothers_finalizer_holds_needs_no_slot() -> None:
    cluster = Cluster()
    cluster.exports["nightly"] = export()
    operator = Watched(cluster)
    other = export(jobName="bex-other", phase="Running")
    changes = {"uid": "uid-2", "name": "other", "deletion_timestamp": CREATED}
    other = other.model_copy(update={"metadata": other.metadata.model_copy(update=changes)})
    operator.indexes["exports"]["uid-2"] = [other]
    assert (await operator.reconcile()).status.job_name == JOB.name


async def test_a_refusal_says_what_the_api_server_said(watched: Callable[..., Watched]) -> None:
    operator = watched(Cluster(refuse_jobs=403))
    with pytest.raises(ApiException):
        await operator.reconcile()
    message = operator.cluster.exports["nightly"].status.message or ""
    assert "exceeded quota: count/jobs.batch" in message


async def test_a_job_whose_coming_and_going_no_watch_told_of_is_missed(
    watched: Callable[..., Watched],
) -> None:
    operator = watched()
    await operator.reconcile()
    operator.cluster.jobs.clear()
    operator.indexes["jobs"].clear()
    operator.reconciler.resync(await operator.cluster.snapshot())
    assert (await operator.reconcile()).status.reason == Reason.JOB_DELETED
    await operator.reconciler.stop()
