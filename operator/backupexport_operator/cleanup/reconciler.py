"""Carries out what is left to do for BackupExports that have ended, see `disposal`."""

import logging

from backupexport_contract.backup_export import BackupExport
from backupexport_contract.runner_protocol import TASK_REMOVE

from backupexport_operator.cleanup.decision import CleanupStep, decide_cleanup
from backupexport_operator.cleanup.jobs import CleanupJobs, CleanupRefusedError
from backupexport_operator.kube.client import SERVER_AWAY, brief
from backupexport_operator.kube.event_recorder import EventRecorder
from backupexport_operator.kube.finished_exports import FinishedExports
from backupexport_operator.kube.reader import AWAITING_CLEANUP, ClusterReader
from backupexport_operator.kube.work_queue import WorkQueue
from backupexport_operator.kube.writer import ClusterWriter
from backupexport_operator.manifests.events import ExportEvent
from backupexport_operator.observed.export_cache import ExportCache
from backupexport_operator.observed.export_files import is_being_sent
from backupexport_operator.observed.observation import SideJob
from backupexport_operator.telemetry.metrics import OperatorMetrics

_logger = logging.getLogger(__name__)

_PARALLEL = 4
# A thousand exports that expire together, or are deleted together, take their time.
_MOST_CLEANUPS = 10
# A timer that waits for years is no good; it asks again when it has waited this long.
_LONGEST_DELAY_SECONDS = 24 * 3600.0


class CleanupReconciler:
    """Watches finished exports that await disposal, and disposes of them."""

    def __init__(
        self,
        cache: ExportCache,
        reader: ClusterReader,
        writer: ClusterWriter,
        cleanup_jobs: CleanupJobs,
        recorder: EventRecorder,
        metrics: OperatorMetrics,
    ) -> None:
        self._cache = cache
        self._writer = writer
        self._cleanup_jobs = cleanup_jobs
        self._recorder = recorder
        # Whose cleanup this process has begun, and who waits for one of these to end.
        self._cleaning: set[str] = set()
        self._in_line: dict[str, None] = {}
        self._work: WorkQueue[str] = WorkQueue(
            self._clean_up,
            _PARALLEL,
            (*SERVER_AWAY, CleanupRefusedError),
            brief,
            metrics.reconciled,
        )
        self._exports = FinishedExports(
            reader, AWAITING_CLEANUP, self._work.ask, self._cleanup_is_over
        )

    async def watch_for_ever(self) -> None:
        """Follow them and work on them until it is cancelled."""
        await self._exports.watch_for_ever()

    async def stop(self) -> None:
        """Stop working; what was under way is picked up by the next process."""
        await self._work.stop()

    def ask(self, uid: str) -> None:
        """A Job or Pod of the export changed."""
        if self._exports.get(uid) is not None:
            self._work.ask(uid)

    async def _take(self, step: CleanupStep, export: BackupExport, cleanup: SideJob) -> bool:
        """Whether nothing will ever remove the file, because the whole namespace goes."""
        if step is CleanupStep.DELETE:
            await self._cleanup_jobs.delete(cleanup)
        if step is not CleanupStep.CREATE:
            return False
        uid = export.metadata.uid
        if uid not in self._cleaning and len(self._cleaning) >= _MOST_CLEANUPS:
            self._in_line[uid] = None
            return False
        self._cleaning.add(uid)
        try:
            await self._cleanup_jobs.create(export, TASK_REMOVE)
        except CleanupRefusedError as refusal:
            if refusal.namespace_is_ending:
                return True
            raise
        return False

    def _cleanup_is_over(self, uid: str) -> None:
        """Done, failed for now, or no longer needed: the next in line may begin."""
        self._in_line.pop(uid, None)
        if uid not in self._cleaning:
            return
        self._cleaning.remove(uid)
        if self._in_line:
            following = next(iter(self._in_line))
            del self._in_line[following]
            self._work.ask(following)

    async def _clean_up(self, uid: str) -> None:
        export = self._exports.get(uid)
        if export is None:
            return
        seen = self._cache.observe(export)
        cleanup = seen.remove_job
        plan = decide_cleanup(export, cleanup, seen.now, is_being_sent=is_being_sent(seen))
        if plan.failure or plan.step not in (CleanupStep.CREATE, CleanupStep.WAIT):
            self._cleanup_is_over(uid)
        if plan.failure:
            message = f"The file can't be removed yet: {plan.failure}"
            self._recorder.record(export, ExportEvent("Warning", "RemovalFailed", message))
        if plan.remove_finalizer or await self._take(plan.step, export, cleanup):
            await self._cleanup_jobs.release(export)
        if plan.delete_export:
            _logger.info("export %s: kept long enough, removed", export.job_id)
            await self._writer.delete_export(export)
        if plan.recheck_after is not None:
            delay = min(plan.recheck_after.total_seconds(), _LONGEST_DELAY_SECONDS)
            self._work.ask(uid, delay=delay)
