"""Removes the files of exports that have ended, then their resources or our finalizer."""

import logging
from dataclasses import dataclass, field

from backupexport_contract.backup_export import BackupExport
from backupexport_contract.runner_protocol import TASK_REMOVE

from backupexport_operator.cleanup.decision import CleanupStep, decide_cleanup
from backupexport_operator.cleanup.jobs import CleanupJobs, CleanupRefusedError
from backupexport_operator.kube.cluster import AWAITING_CLEANUP
from backupexport_operator.kube.finished_exports import FinishedExportReconciler
from backupexport_operator.manifests.events import ExportEvent
from backupexport_operator.observed.export_files import is_being_sent
from backupexport_operator.observed.observation import SideJob

_logger = logging.getLogger(__name__)

# So many Jobs at once remove files, though a thousand exports may expire together.
_MOST_CLEANUPS = 10
# Nobody needs a timer that runs for years: it is set anew when this time has passed.
_LONGEST_DELAY_SECONDS = 24 * 3600.0


@dataclass
class CleanupReconciler(FinishedExportReconciler):
    """Watches finished exports that await their cleanup, and cleans up after them."""

    rest_until_they_expire = True
    awaiting = AWAITING_CLEANUP
    cleanup_jobs: CleanupJobs
    # The exports whose cleanup has begun, and those that wait for one of these to end.
    _cleaning: set[str] = field(default_factory=set, init=False)
    _in_line: dict[str, None] = field(default_factory=dict, init=False)

    async def reconcile(self, export: BackupExport) -> None:
        """Take the next step of the export's cleanup."""
        uid = export.metadata.uid
        seen = self.cache.observe(export)
        plan = decide_cleanup(export, seen.remove_job, seen.now, is_being_sent=is_being_sent(seen))
        if plan.failure or plan.step not in (CleanupStep.CREATE, CleanupStep.WAIT):
            self.forget(uid)
        if plan.failure:
            message = f"The file can't be removed yet: {plan.failure}"
            self.recorder.record(export, ExportEvent("Warning", "RemovalFailed", message))
        if plan.remove_finalizer or await self._take(plan.step, export, seen.remove_job):
            await self.cleanup_jobs.release_finalizer(export)
        if plan.delete_export:
            _logger.info("export %s: kept long enough, removed", export.job_id)
            await self.cluster.delete_export(export)
        if plan.recheck_after is not None:
            delay = min(plan.recheck_after.total_seconds(), _LONGEST_DELAY_SECONDS)
            self.queue.ask(uid, delay=delay)

    def forget(self, uid: str) -> None:
        """The export's cleanup has ended or is not needed: the next in line may begin."""
        self._in_line.pop(uid, None)
        if uid not in self._cleaning:
            return
        self._cleaning.remove(uid)
        if self._in_line:
            following = next(iter(self._in_line))
            del self._in_line[following]
            self.queue.ask(following)

    async def _take(self, step: CleanupStep, export: BackupExport, cleanup: SideJob) -> bool:
        """Returns whether the file can never be removed, because its namespace is being deleted."""
        if step is CleanupStep.DELETE and cleanup.job is not None:
            await self.cluster.delete_job(cleanup.job)
        if step is not CleanupStep.CREATE:
            return False
        uid = export.metadata.uid
        if uid not in self._cleaning and len(self._cleaning) >= _MOST_CLEANUPS:
            self._in_line[uid] = None
            return False
        self._cleaning.add(uid)
        try:
            await self.cleanup_jobs.create(export, TASK_REMOVE)
        except CleanupRefusedError as refusal:
            if refusal.namespace_is_ending:
                return True
            raise
        return False
