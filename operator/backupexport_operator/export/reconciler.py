"""Brings unfinished BackupExports to their end: observe, decide, apply, one export at a time."""

import contextlib
import logging
from dataclasses import dataclass, field, replace

from backupexport_contract import names, timestamps
from backupexport_contract.backup_export import BackupExport, BackupExportStatus
from backupexport_contract.runner_protocol import TASK_TIDY, Progress
from kubernetes.aio.client.exceptions import ApiException

from backupexport_operator.cleanup.jobs import CleanupJobs, CleanupRefusedError
from backupexport_operator.export import next_status
from backupexport_operator.export.decision import decide, decide_departed
from backupexport_operator.export.plan import ExportPlan
from backupexport_operator.export.start_queue import QueueSync, StartQueue
from backupexport_operator.export.stored_bytes import StoredBytes
from backupexport_operator.kube.client import brief, is_unanswered
from backupexport_operator.kube.cluster import Cluster
from backupexport_operator.kube.event_recorder import EventRecorder
from backupexport_operator.kube.pod_logs import PodLogs
from backupexport_operator.kube.work_queue import WorkQueue
from backupexport_operator.manifests.events import ExportEvent, events_between
from backupexport_operator.manifests.jobs import job_manifest
from backupexport_operator.manifests.pod import JobSettings
from backupexport_operator.manifests.status import (
    merge_patch,
    server_verified,
    settled_between,
    with_condition,
)
from backupexport_operator.observed.export_cache import ExportCache, World
from backupexport_operator.observed.jobs_and_pods import ObservedJob
from backupexport_operator.observed.observation import Observation, SideJob
from backupexport_operator.telemetry.metrics import OperatorMetrics

_logger = logging.getLogger(__name__)

PARALLEL_RECONCILES = 32


@dataclass
class ExportReconciler:
    """Brings every unfinished BackupExport to its next step."""

    cache: ExportCache
    cluster: Cluster
    cleanup_jobs: CleanupJobs
    recorder: EventRecorder
    pod_logs: PodLogs
    defaults: JobSettings
    start_queue: StartQueue
    metrics: OperatorMetrics
    # The uids of which the watches may have missed something, and the exports that kopf's watch
    # no longer shows.
    _doubted: set[str] = field(default_factory=set, init=False)
    _departed: dict[str, BackupExport] = field(default_factory=dict, init=False)
    # Those of which nobody knows whether their Job was made, as they were then.
    _perhaps_started: dict[str, BackupExport] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        measure, is_new = self.metrics.reconciled, self.cache.is_new
        self.queue = WorkQueue(self._reconcile, PARALLEL_RECONCILES, measure, is_new)
        self._queue_sync = QueueSync(self.cache, self.start_queue, self.queue.ask)
        self._stored = StoredBytes(self.cluster)

    def resync(self, snapshot: World) -> None:
        """Work on all unfinished exports, and read those afresh that a watch may have missed."""
        self._doubted |= self.cache.compare(snapshot)
        for uid in self.cache.uids():
            self.queue.ask(uid)

    def project_changed(self, project_id: str) -> None:
        """Work on the project's exports: a target of it came, changed or went."""
        for uid in self.cache.uids():
            export = self.cache.export(uid)
            if export is not None and export.spec.project_id == project_id:
                self.queue.ask(uid)

    def departed(self, export: BackupExport) -> None:
        """The watch of unfinished exports shows this one no more: it has ended or is gone."""
        self._departed[export.metadata.uid] = export
        self.queue.ask(export.metadata.uid)

    async def _reconcile(self, uid: str) -> None:
        if uid in self._perhaps_started:
            await self._look_for_job(self._perhaps_started[uid])
        export = self.cache.export(uid)
        departed = self._departed.get(uid)
        if departed is not None and not (export and export.phase.is_finished):
            await self._after_departure(departed)
            return
        if departed is not None or export is None:
            self._forget(uid)
            return
        seen = await self._with_stored_bytes(self.cache.observe(export))
        seen = self._queue_sync.with_place(seen)
        plan = decide(seen)
        # Each kind has a watch of its own, so a Job's end may be seen before its pod's.  A failure
        # is decided on what the API server has now; a success needs no second look, because only a
        # runner that has finished writes a report.
        if uid in self._doubted or plan.is_failure:
            fresh = await self._look_again(seen)
            if fresh is None:
                self._doubted.discard(uid)
                self.departed(export)
                return
            if fresh.export.phase.is_finished:
                self._forget(uid)
                return
            self.cache.note_written(fresh.export)
            if self.cache.agrees_with(fresh):
                self._doubted.discard(uid)
            seen = self._queue_sync.with_place(fresh)
            plan = decide(seen)
        if plan.wants_warning:
            about = ("Pod", seen.attempts[-1].name) if seen.attempts else ("Job", seen.job_name)
            seen = replace(seen, warning=await self.cluster.newest_warning(*about))
            plan = decide(seen)
        await self._apply(seen, plan)

    async def _with_stored_bytes(self, seen: Observation) -> Observation:
        export = seen.export
        may_start = seen.job is None and not export.status.job_name and not export.spec.cancel
        if seen.stored_limit is None or not may_start:
            return seen
        return replace(seen, stored_bytes=await self._stored.of(export.spec.project_id))

    async def _look_again(self, seen: Observation) -> Observation | None:
        export = await self.cluster.read_export(seen.export.metadata.name)
        if export is None or export.metadata.uid != seen.export.metadata.uid:
            return None
        return await self.cluster.observe_afresh(replace(seen, export=export))

    async def _apply(self, seen: Observation, plan: ExportPlan) -> None:
        export: BackupExport | None = seen.export
        uid, old = seen.export.metadata.uid, seen.export.status
        if plan.create_job:
            await self._start(seen, plan)
            return
        if plan.remove_finalizer:
            export = await self.cleanup_jobs.release_finalizer(seen.export)
        if export is not None:
            await self._write_status(export, old, plan.status)
            await self._tell_target(seen, plan.status)
        if plan.delete_job and seen.job is not None:
            await self.cluster.delete_job(seen.job)
        if plan.delete_pod is not None:
            await self.cluster.delete_pod(plan.delete_pod.name)
        if plan.follow_pod is not None:
            self.pod_logs.follow(uid, plan.follow_pod, self._told_progress)
        else:
            self.pod_logs.forget(uid)
        if plan.recheck_after is not None:
            self.queue.ask(uid, delay=plan.recheck_after.total_seconds())
        await self._clean(seen, plan)

    async def _start(self, seen: Observation, plan: ExportPlan) -> None:
        """Create the Job, after our finalizer is on the export if it needs that.

        The status is written in a run of its own, after the Jobs of exports that come meanwhile.
        """
        uid = seen.export.metadata.uid
        self._queue_sync.start(seen.export)
        if plan.add_finalizer:
            holding = [*seen.export.metadata.finalizers, names.FINALIZER]
            export = await self.cluster.patch_finalizers(seen.export, holding)
            if export is None:
                return
            self.cache.note_written(export)
            seen = replace(seen, export=export)
        job = await self._create_job(seen)
        if job.owner_uid != uid:
            # Another's Job has the name, so ours was not made: decide on that instead.
            self._queue_sync.leave(uid)
            await self._apply(seen, decide(replace(seen, job=job)))
            return
        self._has_started(seen.export, job)

    async def _look_for_job(self, export: BackupExport) -> None:
        """Learn whether the Job was made; the export keeps its slot until that is known."""
        uid = export.metadata.uid
        job = await self.cluster.read_job(names.job_name(export.metadata.name))
        if job is not None and job.owner_uid == uid:
            self._has_started(export, job)
        del self._perhaps_started[uid]

    def _has_started(self, export: BackupExport, job: ObservedJob) -> None:
        uid = export.metadata.uid
        self.metrics.job_created(export.age(timestamps.now()))
        self.cache.note_made_job(uid, job)
        self.queue.ask(uid)

    async def _clean(self, seen: Observation, plan: ExportPlan) -> None:
        if plan.delete_cleanup is not None:
            cleanup = seen.tidy_job if plan.delete_cleanup == TASK_TIDY else seen.remove_job
            if cleanup.job is not None:
                await self.cluster.delete_job(cleanup.job)
        if plan.create_cleanup is None:
            return
        try:
            await self.cleanup_jobs.create(seen.accepted_export, plan.create_cleanup, seen.place)
        except CleanupRefusedError as refusal:
            newest = self.cache.export(seen.export.metadata.uid) or seen.export
            is_deleted = newest.metadata.deletion_timestamp is not None
            if is_deleted and refusal.namespace_is_ending:
                await self.cleanup_jobs.release_finalizer(newest)
            elif plan.create_cleanup == TASK_TIDY:
                seen = replace(seen, export=newest, tidy_job=SideJob(refusal.as_failed_job))
                await self._apply(seen, decide(seen))
            else:
                message = f"The file can't be removed yet: {refusal}"
                self.recorder.record(newest, ExportEvent("Warning", "RemovalFailed", message))
                raise

    async def _create_job(self, seen: Observation) -> ObservedJob:
        if seen.target is None:
            raise AssertionError("a Job is planned only for an export with a target")
        if seen.place is None:
            raise AssertionError("a Job is planned only for an export with a storage")
        limits = seen.stored_limit, seen.room_bytes
        manifest = job_manifest(
            seen.accepted_export, seen.target, self.defaults, seen.place, *limits
        )
        try:
            return await self.cluster.create_job(manifest)
        except Exception as error:
            uid = seen.export.metadata.uid
            if is_unanswered(error):
                self._perhaps_started[uid] = seen.export
                raise
            if not isinstance(error, ApiException):
                raise
            # Of these two the fault is this export's own, so the next one may start.
            self._queue_sync.leave(uid, wake_next=error.status in (400, 422))
            if error.status in (400, 403, 422):
                refused = next_status.refused(seen, brief(error))
                await self._write_status(seen.export, seen.export.status, refused)
            raise

    async def _write_status(
        self, export: BackupExport, old: BackupExportStatus, status: BackupExportStatus
    ) -> None:
        patch = merge_patch(old, status)
        if not patch:
            return
        updated = await self.cluster.patch_export_status(export, patch)
        if updated is None:
            return
        self.cache.note_written(updated)
        if status.phase != old.phase:
            why = f" ({status.reason}: {status.message})" if status.reason else ""
            whose = export.job_id, export.spec.project_id
            _logger.info("export %s of project %s: %s%s", *whose, status.phase, why)
        if updated.phase.is_finished:
            self._stored.forget(export.spec.project_id)
            self._queue_sync.leave(export.metadata.uid)
            if not old.phase or not old.phase.is_finished:
                self.metrics.export_finished(updated)
                for kind, condition in settled_between(old, status):
                    self.metrics.delivery_finished(kind, condition.reason)
        for event in events_between(old, status):
            self.recorder.record(export, event)

    async def _tell_target(self, seen: Observation, status: BackupExportStatus) -> None:
        """Write on the target whether its newest export's server was verified."""
        told, target = server_verified(status.conditions), seen.target
        if told is None or target is None:
            return
        known = server_verified(target.status.conditions)
        if known is not None and known.status == told.status:
            return
        about = told.model_copy(update={"observed_generation": target.metadata.generation})
        conditions = with_condition(target.status.conditions, about)
        patch = merge_patch(
            target.status, target.status.model_copy(update={"conditions": conditions})
        )
        # The next export tells it, too.
        with contextlib.suppress(ApiException):
            await self.cluster.patch_target_status(target, patch)

    async def _after_departure(self, export: BackupExport) -> None:
        """Clean up after an export that is gone before its end."""
        uid = export.metadata.uid
        there = await self.cluster.read_export(export.metadata.name)
        if there is None or there.metadata.uid != uid:
            seen = self.cache.observe(export)
            plan = decide_departed(seen)
            if plan.recheck_after is not None:
                self.queue.ask(uid, delay=plan.recheck_after.total_seconds())
                return
            if plan.create_cleanup is not None:
                # If it is refused for good, the project's next export cleans up.
                with contextlib.suppress(CleanupRefusedError):
                    await self.cleanup_jobs.create(
                        seen.accepted_export, plan.create_cleanup, seen.place, is_owned=False
                    )
            self.cache.note_gone(uid)
        self._forget(uid)

    def _told_progress(self, uid: str, progress: Progress) -> None:
        delay = self.cache.note_progress(uid, progress)
        if delay is not None:
            self.queue.ask(uid, delay=delay)

    def _forget(self, uid: str) -> None:
        self._departed.pop(uid, None)
        self.pod_logs.forget(uid)
        self.cache.forget(uid)
        self._doubted.discard(uid)
        self._perhaps_started.pop(uid, None)
        self._queue_sync.leave(uid)
