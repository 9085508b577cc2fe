"""Brings exports that have ended to their owners, by Jobs."""

import functools
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from backupexport_contract import timestamps
from backupexport_contract.backup_export import BackupExport
from backupexport_contract.deliveries import Deliveries, is_pending, pending_by_kind
from backupexport_contract.kubernetes_model import Condition
from backupexport_contract.reasons import DeliveryReason
from kubernetes.aio.client.exceptions import ApiException

from backupexport_operator.delivery.choice import settings_now
from backupexport_operator.delivery.decision import (
    DeliveryPlan,
    DeliveryStep,
    decide_delivery,
    rationed_delivery,
    refused_delivery,
)
from backupexport_operator.delivery.ration import Ration
from backupexport_operator.delivery.slots import DeliverySlots
from backupexport_operator.kube.client import brief
from backupexport_operator.kube.cluster import AWAITING_DELIVERY
from backupexport_operator.kube.finished_exports import FinishedExportReconciler
from backupexport_operator.manifests.events import events_between
from backupexport_operator.manifests.jobs import delivery_manifest
from backupexport_operator.manifests.pod import JobSettings
from backupexport_operator.manifests.status import (
    merge_patch,
    of_generation,
    settled_between,
    with_condition,
)
from backupexport_operator.observed.export_files import unfinished_jobs
from backupexport_operator.observed.jobs_and_pods import ObservedJob
from backupexport_operator.observed.observation import Observation, SideJob

_logger = logging.getLogger(__name__)

# So many Jobs of one kind at once; each has a pod.
_MOST_DELIVERIES = 20
_SHORTEST_DELAY_SECONDS = 0.1
# In a pause's key in place of an export's uid: no export of the kind is delivered.
_EVERYBODY = ""
_QUOTA_REFUSES = "exceeded quota"


@dataclass
class DeliveryReconciler(FinishedExportReconciler):
    """Watches finished exports with deliveries to be made, and makes them."""

    awaiting = AWAITING_DELIVERY
    defaults: JobSettings

    def __post_init__(self) -> None:
        super().__post_init__()
        self._slots = {kind: DeliverySlots(_MOST_DELIVERIES) for kind in Deliveries.kinds()}
        # Of this process: after a restart or a takeover an hour begins anew.
        self._rations = {kind: Ration() for kind in Deliveries.kinds()}
        # By (kind, uid), on this process's clock; a restart forgets them, which costs a try each.
        self._paused_until: dict[tuple[str, str], float] = {}
        self._is_filled = False

    def pending(self) -> Mapping[str, Sequence[float]]:
        """Returns, by kind, the seconds since the ends of the exports whose delivery is tried."""
        now = timestamps.now()
        ages: dict[str, list[float]] = {kind: [] for kind in Deliveries.kinds()}
        for export in self.all():
            ended = export.status.completion_time
            age = (now - timestamps.from_text(ended)).total_seconds() if ended else 0.0
            for kind, condition in pending_by_kind(export.status).items():
                # A delivery that waits for its ExportTarget isn't tried.
                if condition.reason != DeliveryReason.NOT_CONFIGURED:
                    ages[kind].append(age)
        return ages

    def project_changed(self, project_id: str) -> None:
        """Work on the project's exports: a target of it came, changed or went."""
        for export in self.all():
            if export.spec.project_id == project_id:
                self.queue.ask(export.metadata.uid)

    async def reconcile(self, export: BackupExport) -> None:
        """Take the next step of each of the export's deliveries."""
        self._fill()
        uid = export.metadata.uid
        seen = self.cache.observe(export)
        if export.metadata.deletion_timestamp is not None:
            # The file may be removed now, and a delivery must not send it meanwhile.
            for job in unfinished_jobs(seen):
                await self.cluster.delete_job(job)
            self.forget(uid)
            return
        kinds = pending_by_kind(export.status)
        plans = {kind: await self._advance(seen, kind) for kind in kinds}
        await self._write(export, [plan.condition for plan in plans.values()])
        for kind, plan in plans.items():
            kept = _kept_job(seen.delivery_jobs[kind], uid)
            if kept is not None and not is_pending(plan.condition):
                # Not before that is written: it might be made again.
                await self.cluster.delete_job(kept)
        delays = [plan.recheck_after for plan in plans.values() if plan.recheck_after is not None]
        if delays:
            self.queue.ask(uid, delay=max(min(delays).total_seconds(), _SHORTEST_DELAY_SECONDS))

    def forget(self, uid: str) -> None:
        """No delivery of the export is under way any more."""
        for kind in self._slots:
            self._paused_until.pop((kind, uid), None)
            self._leave(kind, uid)

    def _fill(self) -> None:
        """After a restart, count the deliveries under way before another one may begin."""
        if self._is_filled:
            return
        self._is_filled = True
        for export in self.all():
            seen = self.cache.observe(export)
            for kind in pending_by_kind(export.status):
                if _takes_a_slot(seen.delivery_jobs[kind].job):
                    self._slots[kind].hold(export.metadata.uid, export.spec.project_id)

    async def _advance(self, seen: Observation, kind: str) -> DeliveryPlan:
        """Take the next step of one delivery.  Returns the plan, whose condition is not written."""
        uid = seen.export.metadata.uid
        plan = decide_delivery(seen, kind)
        if plan.step is DeliveryStep.CREATE and (held := self._held_back(seen, kind, plan)):
            return held
        if plan.step is not DeliveryStep.WAIT or not is_pending(plan.condition):
            # Targets, Jobs and pods come by watches of their own, one before another.  What can't
            # be undone is decided on all three as the API server has them now.
            seen = await self.cluster.observe_afresh(seen)
            plan = decide_delivery(seen, kind)
        if plan.step is DeliveryStep.CREATE:
            return (
                self._held_back(seen, kind, plan)
                or self._rationed(seen, kind)
                or await self._create(seen, kind, plan)
            )
        job = seen.delivery_jobs[kind].job
        if is_pending(plan.condition) and plan.step is DeliveryStep.WAIT and _takes_a_slot(job):
            self._slots[kind].hold(uid, seen.export.spec.project_id)
        else:
            self._leave(kind, uid)
        if plan.step is DeliveryStep.DELETE and job is not None:
            if plan.pause is not None:
                self._pause(kind, uid, plan.pause)
            await self.cluster.delete_job(job)
        return plan

    def _held_back(self, seen: Observation, kind: str, plan: DeliveryPlan) -> DeliveryPlan | None:
        """Returns the plan for a delivery that must wait before its Job is made, else None."""
        uid = seen.export.metadata.uid
        until = max(self._paused_until.get((kind, paused), 0.0) for paused in (uid, _EVERYBODY))
        if (left := until - time.monotonic()) > 0:
            self._leave(kind, uid)
            return DeliveryPlan(plan.condition, recheck_after=timedelta(seconds=left))
        if self._slots[kind].take(uid, seen.export.spec.project_id):
            return None
        # `_leave` asks for the next export; the recheck is for the case that it never does.
        return DeliveryPlan(plan.condition, recheck_after=plan.recheck_after)

    def _rationed(self, seen: Observation, kind: str) -> DeliveryPlan | None:
        """Returns the plan for a delivery whose receiver has had enough for now, else None."""
        settings = settings_now(kind, seen)
        quota = settings.quota(seen.export.spec) if settings is not None else None
        if quota is None:
            return None
        uid, (receiver, most) = seen.export.metadata.uid, quota
        left = self._rations[kind].take(receiver, most, uid, time.monotonic())
        if left <= 0:
            return None
        self._leave(kind, uid)
        return rationed_delivery(seen, kind, timedelta(seconds=left))

    async def _create(self, seen: Observation, kind: str, plan: DeliveryPlan) -> DeliveryPlan:
        settings = settings_now(kind, seen)
        if settings is None:
            raise AssertionError("a Job is planned only for a delivery with settings")
        uid = seen.export.metadata.uid
        manifest = delivery_manifest(seen, kind, settings, self.defaults)
        try:
            job = await self.cluster.create_job(manifest)
        except ApiException as error:
            if error.status not in (400, 403, 422):
                raise
            plan = refused_delivery(seen, kind, brief(error))
            # A quota that is used up refuses every other export's Job as well.
            refused = _EVERYBODY if _QUOTA_REFUSES in str(error.body) else uid
            self._pause(kind, refused, plan.pause or timedelta())
            self._leave(kind, uid)
            return plan
        if job.owner_uid != uid:
            # Another export's Job has the name, so ours was not made: decide on that instead.
            self._leave(kind, uid)
            jobs = {**seen.delivery_jobs, kind: SideJob(job)}
            return decide_delivery(replace(seen, delivery_jobs=jobs), kind)
        return plan

    async def _write(self, export: BackupExport, wanted: Iterable[Condition]) -> None:
        old = export.status
        conditions = functools.reduce(with_condition, wanted, old.conditions)
        status = old.model_copy(update={"conditions": conditions})
        if not pending_by_kind(status):
            status = status.model_copy(update={"delivery_pending": None})
        if status == old:
            return
        patch = merge_patch(old, of_generation(status, export.metadata.generation))
        updated = await self.cluster.patch_export_status(export, patch)
        if updated is None:
            return
        self.note_written(updated)
        for kind, condition in settled_between(old, status):
            _logger.info("export %s: %s delivery: %s", export.job_id, kind, condition.reason)
            self.metrics.delivery_finished(kind, condition.reason)
        for event in events_between(old, status):
            self.recorder.record(export, event)

    def _pause(self, kind: str, uid: str, pause: timedelta) -> None:
        self._paused_until[kind, uid] = time.monotonic() + pause.total_seconds()

    def _leave(self, kind: str, uid: str) -> None:
        following = self._slots[kind].leave(uid)
        if following is not None:
            self.queue.ask(following)


def _kept_job(run: SideJob, uid: str) -> ObservedJob | None:
    """Returns the export's Job if an injected container keeps it from its end, else None."""
    job = run.job
    if job is None or job.owner_uid != uid:
        return None
    return job if any(pod.kept_by and pod.job_uid == job.uid for pod in run.pods) else None


def _takes_a_slot(job: ObservedJob | None) -> bool:
    """Returns whether the Job has a pod, or will have one."""
    if job is None or job.complete or job.failure is not None:
        return False
    return not job.suspended and not job.deleting
