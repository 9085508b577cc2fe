"""Removes the files of exports that have ended, then their resources or our finalizer."""

import logging
from dataclasses import dataclass, field, replace
from datetime import datetime

from backupexport_contract import timestamps
from backupexport_contract.backup_export import BackupExport
from backupexport_contract.names import is_removal_batch
from backupexport_contract.reasons import Reason

from backupexport_operator.cleanup.batches import Batch, Batches
from backupexport_operator.cleanup.decision import CleanupPlan, CleanupStep, decide_cleanup
from backupexport_operator.cleanup.jobs import CleanupJobs, CleanupRefusedError
from backupexport_operator.kube.client import SERVER_AWAY
from backupexport_operator.kube.cluster import AWAITING_CLEANUP
from backupexport_operator.kube.finished_exports import FinishedExportReconciler
from backupexport_operator.kube.work_queue import WorkQueue
from backupexport_operator.manifests.events import ExportEvent
from backupexport_operator.manifests.status import (
    ConditionStatus,
    condition_now,
    merge_patch,
    with_condition,
)
from backupexport_operator.observed.export_files import (
    CLEANUP_PAUSE,
    CleanupResult,
    CleanupState,
    cleanup_result,
    is_being_sent,
    removal_result,
)
from backupexport_operator.observed.jobs_and_pods import ObservedJob
from backupexport_operator.observed.observation import Observation
from backupexport_operator.observed.places import (
    Place,
    is_reachable,
    recorded_place,
    without_storage,
)

_logger = logging.getLogger(__name__)

# A batch waits so long for more: exports that expire together come one after the other.
_GATHER_SECONDS = 0.5
# In the queue of batches, in place of one's name.
_NEXT = ""
# Nobody needs a timer that runs for years: it is set anew when this time has passed.
_LONGEST_DELAY_SECONDS = 24 * 3600.0
# After these another Job is made.
_MADE_ANEW = (CleanupState.MISSING, CleanupState.FAILED, CleanupState.LOST)
# A condition of an export, and the reason of the Event.
FILE_MISSING = "FileMissing"


@dataclass
class CleanupReconciler(FinishedExportReconciler):
    """Watches finished exports that await their cleanup, and cleans up after them."""

    rest_until_they_expire = True
    awaiting = AWAITING_CLEANUP
    cleanup_jobs: CleanupJobs
    _knows_batches: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        world = self.cache.world
        self._batches = Batches(world.jobs, world.pods)
        self._storages = self.cleanup_jobs.defaults.storages
        self._chart_claim = self.cleanup_jobs.defaults.chart_claim
        # One at a time, so that no export gets into two batches.
        self.batch_queue = WorkQueue(self._work_on_batch, 1, self.metrics.reconciled)

    def ask(self, uid: str) -> None:
        """Work on the export, or on the batch of this name: a Job or Pod of it has changed."""
        if is_removal_batch(uid):
            self.batch_queue.ask(uid)
        else:
            super().ask(uid)

    async def reconcile(self, export: BackupExport) -> None:
        """Take the next step of the export's cleanup."""
        if not self._knows_batches:
            self._knows_batches = True
            for name in self._batches.note_all():
                self.batch_queue.ask(name)
        uid = export.metadata.uid
        seen = self.cache.observe(export)
        plan = self._plan(seen)
        if plan.failure:
            self._tell_failure(export, plan.failure)
        if plan.is_unreachable:
            message = f"Nobody can look for the file: {plan.failure}."
            await self._tell(seen, "Unknown", Reason.STORAGE_NOT_FOUND, message)
        if plan.is_missing:
            await self._tell_missing(seen)
        if plan.step is CleanupStep.CREATE:
            self._batches.wait(uid, export.spec.project_id, self._place(export))
            self.batch_queue.ask(_NEXT, delay=_GATHER_SECONDS)
        if plan.remove_finalizer:
            await self.cleanup_jobs.release_finalizer(export)
        if plan.delete_export:
            _logger.info("export %s: kept long enough, removed", export.job_id)
            await self.cluster.delete_export(export)
        if plan.recheck_after is not None:
            delay = min(plan.recheck_after.total_seconds(), _LONGEST_DELAY_SECONDS)
            self.queue.ask(uid, delay=delay)

    def forget(self, uid: str) -> None:
        """The export is gone, or awaits nothing any more."""
        done = self._batches.forget(uid)
        if done is not None:
            self.batch_queue.ask(done)

    async def stop(self) -> None:
        """Stop working on exports and on batches.  Returns when nothing runs."""
        await self.queue.stop()
        await self.batch_queue.stop()

    def _plan(self, seen: Observation) -> CleanupPlan:
        removal = self._removal(seen)
        return decide_cleanup(seen.export, removal, seen.now, is_being_sent=is_being_sent(seen))

    def _removal(self, seen: Observation) -> CleanupResult:
        # An older operator has made one for this export alone, whose runner left no tombstone.
        alone = cleanup_result(seen.remove_job, seen.now)
        if alone.state in (CleanupState.DONE, CleanupState.LOST):
            return replace(alone, state=CleanupState.DONE)
        if alone.state is CleanupState.UNDER_WAY:
            return alone
        uid = seen.export.metadata.uid
        result = removal_result(self._batches.of(uid), uid, seen.now)
        place = self._place(seen.export)
        if result.state in _MADE_ANEW and not is_reachable(place, self._storages):
            return CleanupResult(CleanupState.UNREACHABLE, message=without_storage(place))
        return result

    def _place(self, export: BackupExport) -> Place:
        return recorded_place(export, self._storages, self._chart_claim)

    async def _work_on_batch(self, name: str) -> None:
        if not self._knows_batches:
            # Whose exports are there is not known yet; the first reconcile comes back to it.
            return
        if name == _NEXT:
            await self._begin_batches()
            return
        job = self._batches.job(name)
        if job is None:
            for uid in self._batches.forget_job(name):
                self.queue.ask(uid)
            self.batch_queue.ask(_NEXT)
            return
        self._batches.note(job)
        left = self._batches.left(name, self._exports)
        if job.complete or job.failure is not None:
            if not left:
                # Nobody is there any more who would ask what it has done.
                await self.cluster.delete_job(job)
            self.batch_queue.ask(_NEXT)
        elif not job.suspended:
            await self._give_time(job)
        if any(self._tells_anything(uid) for uid in left):
            for uid in left:
                self.queue.ask(uid)

    async def _give_time(self, job: ObservedJob) -> None:
        seconds = _seconds_left(job, timestamps.now())
        if seconds > 0:
            self.batch_queue.ask(job.name, delay=seconds)
            return
        # No controller works on it: should it begin yet, that does no harm.
        await self.cluster.delete_job(job)
        self._batches.forget_made(job.name)
        self.batch_queue.ask(job.name, delay=_GATHER_SECONDS)

    def _tells_anything(self, uid: str) -> bool:
        result = removal_result(self._batches.of(uid), uid, timestamps.now())
        return result.state is not CleanupState.UNDER_WAY or bool(result.message)

    async def _begin_batches(self) -> None:
        problem: BaseException | None = None
        for batch in self._batches.take():
            try:
                await self._begin(batch)
            except SERVER_AWAY as error:
                # The next one may be taken: it is of another volume, say.
                problem = error
        if problem is not None:
            raise problem

    async def _begin(self, batch: Batch) -> None:
        """Make the batch's Job; what it raises leaves its exports in line."""
        # They may have changed while they waited.
        exports = [
            export
            for uid in batch.uids
            if (export := self._exports.get(uid)) is not None
            and self._plan(self.cache.observe(export)).step is CleanupStep.CREATE
        ]
        if not exports:
            self.batch_queue.ask(_NEXT)
            return
        try:
            job = await self.cleanup_jobs.create_batch(exports, batch.place)
        except CleanupRefusedError as refusal:
            for export in exports:
                await self._refused(export, refusal)
        except BaseException:
            for export in exports:
                self._batches.wait(export.metadata.uid, export.spec.project_id, batch.place)
            raise
        else:
            self._batches.note_made(job)
            self.batch_queue.ask(job.name, delay=_seconds_left(job, timestamps.now()))

    async def _refused(self, export: BackupExport, refusal: CleanupRefusedError) -> None:
        if refusal.namespace_is_ending:
            # Its file can never be removed.
            if export.metadata.deletion_timestamp is not None:
                await self.cleanup_jobs.release_finalizer(export)
            return
        self._tell_failure(export, str(refusal))
        self.queue.ask(export.metadata.uid, delay=CLEANUP_PAUSE.total_seconds())

    def _tell_failure(self, export: BackupExport, failure: str) -> None:
        message = f"The file can't be removed yet from {self._place(export)}: {failure}"
        self.recorder.record(export, ExportEvent("Warning", "RemovalFailed", message))

    async def _tell_missing(self, seen: Observation) -> None:
        """Say it by an Event, and on an export that stays by a condition."""
        where = f"{seen.export.path} is not on {self._place(seen.export)}"
        if seen.export.metadata.deletion_timestamp is not None:
            message = f"The file {where}: there was nothing to remove with the BackupExport."
            self.recorder.record(seen.export, ExportEvent("Warning", FILE_MISSING, message))
            return
        message = (
            f"The file {where}: nothing was removed. If "
            "somebody has removed it, delete this BackupExport; else bring the storage back, it is "
            "looked for again once a day."
        )
        await self._tell(seen, "True", "NotFound", message)

    async def _tell(
        self, seen: Observation, status: ConditionStatus, reason: str, message: str
    ) -> None:
        """Write the condition FILE_MISSING, unless it is there; post that a file is missing."""
        if _tells(seen.export, status, reason):
            return
        export = await self.cluster.read_export(seen.export.metadata.name)
        if export is None or export.metadata.uid != seen.export.metadata.uid:
            return
        if status == "True":
            self.recorder.record(export, ExportEvent("Warning", FILE_MISSING, message))
        if _tells(export, status, reason):
            return
        told = condition_now(replace(seen, export=export), FILE_MISSING, status, reason, message)
        conditions = with_condition(export.status.conditions, told)
        changed = export.status.model_copy(update={"conditions": conditions})
        await self.cluster.patch_export_status(export, merge_patch(export.status, changed))


def _tells(export: BackupExport, status: ConditionStatus, reason: str) -> bool:
    told = ((it.type, it.status, it.reason) for it in export.status.conditions)
    return (FILE_MISSING, status, reason) in told


def _seconds_left(job: ObservedJob, now: datetime) -> float:
    """Returns how long the Job may still take, in seconds."""
    return (timestamps.from_text(job.may_run_since) + CLEANUP_PAUSE - now).total_seconds()
