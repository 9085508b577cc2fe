"""Has exports that have ended delivered to their owners, see `delivery_decision`."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta

from backupexport_contract import timestamps
from backupexport_contract.backup_export import BackupExport
from backupexport_contract.deliveries import Deliveries, conditions_by_kind, is_pending
from backupexport_contract.kubernetes_model import Condition
from backupexport_contract.reasons import DeliveryReason
from kubernetes.aio.client.exceptions import ApiException

from backupexport_operator.delivery.choice import settings_for
from backupexport_operator.delivery.decision import (
    DeliveryPlan,
    DeliveryStep,
    decide_delivery,
    refused_delivery,
)
from backupexport_operator.delivery.slots import DeliverySlots, Pauses
from backupexport_operator.kube.client import SERVER_AWAY, brief
from backupexport_operator.kube.event_recorder import EventRecorder
from backupexport_operator.kube.finished_exports import FinishedExports
from backupexport_operator.kube.reader import AWAITING_DELIVERY, ClusterReader, observe_afresh
from backupexport_operator.kube.work_queue import WorkQueue
from backupexport_operator.kube.writer import ClusterWriter
from backupexport_operator.manifests.delivery_job import PublicApi, delivery_manifest
from backupexport_operator.manifests.events import events_between
from backupexport_operator.manifests.pod import RunnerDefaults
from backupexport_operator.manifests.status import merge_patch, settled_between, with_condition
from backupexport_operator.observed.export_cache import ExportCache
from backupexport_operator.observed.export_files import unfinished_jobs
from backupexport_operator.observed.jobs_and_pods import ObservedJob
from backupexport_operator.observed.observation import Observation, SideJob
from backupexport_operator.telemetry.metrics import OperatorMetrics
from backupexport_operator.telemetry.state import PendingDeliveries

_logger = logging.getLogger(__name__)

_PARALLEL = 4
# Of one kind; each is a pod.
_MOST_DELIVERIES = 20
_SHORTEST_DELAY_SECONDS = 0.1
# In the place of an export's uid: a pause for all of a kind.
_EVERYBODY = ""
_QUOTA_REFUSES = "exceeded quota"


class DeliveryReconciler:
    """Watches finished exports with deliveries to be made, and makes them."""

    def __init__(
        self,
        cache: ExportCache,
        reader: ClusterReader,
        writer: ClusterWriter,
        recorder: EventRecorder,
        defaults: RunnerDefaults,
        public_api: PublicApi,
        metrics: OperatorMetrics,
    ) -> None:
        self._cache = cache
        self._reader = reader
        self._writer = writer
        self._recorder = recorder
        self._defaults = defaults
        self._public_api = public_api
        self._metrics = metrics
        self._slots = {kind: DeliverySlots(_MOST_DELIVERIES) for kind in Deliveries.kinds()}
        self._pauses: Pauses[tuple[str, str]] = Pauses()
        self._is_filled = False
        self._work: WorkQueue[str] = WorkQueue(
            self._deliver, _PARALLEL, SERVER_AWAY, brief, metrics.reconciled
        )
        self._exports = FinishedExports(reader, AWAITING_DELIVERY, self._work.ask, self._forget)

    def pending(self) -> Mapping[str, PendingDeliveries]:
        """What of each kind is still tried."""
        now = timestamps.now()
        ages: dict[str, list[float]] = {kind: [] for kind in Deliveries.kinds()}
        for export in self._exports.all():
            ended = export.status.completion_time
            age = (now - timestamps.from_text(ended)).total_seconds() if ended else 0.0
            for kind, told in conditions_by_kind(export.status).items():
                # What waits for its target isn't tried.
                if is_pending(told) and told.reason != DeliveryReason.NOT_CONFIGURED:
                    ages[kind].append(age)
        return {
            kind: PendingDeliveries(len(of_kind), max(of_kind, default=0.0))
            for kind, of_kind in ages.items()
        }

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

    def project_changed(self, project_id: str) -> None:
        """A target of the project came, changed or went."""
        for export in self._exports.all():
            if export.spec.project_id == project_id:
                self._work.ask(export.metadata.uid)

    async def _deliver(self, uid: str) -> None:
        self._fill()
        export = self._exports.get(uid)
        if export is None:
            self._forget(uid)
            return
        seen = self._cache.observe(export)
        if export.metadata.deletion_timestamp is not None:
            # The file may have to go, and is not to be sent while it goes.
            for job in unfinished_jobs(seen):
                await self._writer.delete_job(job)
            self._forget(uid)
            return
        plans = [
            await self._advance(seen, kind)
            for kind, told in conditions_by_kind(export.status).items()
            if is_pending(told)
        ]
        await self._write(export, [plan.condition for plan in plans])
        delays = [plan.recheck_after for plan in plans if plan.recheck_after is not None]
        if delays:
            self._work.ask(uid, delay=max(min(delays).total_seconds(), _SHORTEST_DELAY_SECONDS))

    def _fill(self) -> None:
        """Count everybody who delivers already before anybody else may, after a restart."""
        if self._is_filled:
            return
        self._is_filled = True
        for export in self._exports.all():
            seen = self._cache.observe(export)
            for kind, told in conditions_by_kind(export.status).items():
                if is_pending(told) and _takes_a_slot(seen.delivery_jobs[kind].job):
                    self._slots[kind].hold(export.metadata.uid, export.spec.project_id)

    async def _advance(self, seen: Observation, kind: str) -> DeliveryPlan:
        """Take the next step, and tell what is to be written of it."""
        uid = seen.export.metadata.uid
        plan = decide_delivery(seen, kind)
        if plan.step is DeliveryStep.CREATE and (held := self._held_back(seen, kind, plan)):
            return held
        if plan.step is not DeliveryStep.WAIT or not is_pending(plan.condition):
            # Targets, Jobs and pods are watched apart: what can't be taken back rests on all three.
            seen = await observe_afresh(self._reader, seen)
            plan = decide_delivery(seen, kind)
        if plan.step is DeliveryStep.CREATE:
            return self._held_back(seen, kind, plan) or await self._create(seen, kind, plan)
        job = seen.delivery_jobs[kind].job
        if is_pending(plan.condition) and plan.step is DeliveryStep.WAIT and _takes_a_slot(job):
            self._slots[kind].hold(uid, seen.export.spec.project_id)
        else:
            self._leave(kind, uid)
        if plan.step is DeliveryStep.DELETE and job is not None:
            if plan.pause is not None:
                self._pauses.begin((kind, uid), plan.pause.total_seconds())
            await self._writer.delete_job(job)
        return plan

    def _held_back(self, seen: Observation, kind: str, plan: DeliveryPlan) -> DeliveryPlan | None:
        """The plan for now of a delivery that may not have its Job yet, or None."""
        uid = seen.export.metadata.uid
        left = max(self._pauses.left((kind, uid)), self._pauses.left((kind, _EVERYBODY)))
        if left > 0:
            self._leave(kind, uid)
            return DeliveryPlan(plan.condition, recheck_after=timedelta(seconds=left))
        if self._slots[kind].take(uid, seen.export.spec.project_id):
            return None
        # Whoever leaves a slot wakes the next one up; time does what a lost call doesn't.
        return DeliveryPlan(plan.condition, recheck_after=plan.recheck_after)

    async def _create(self, seen: Observation, kind: str, plan: DeliveryPlan) -> DeliveryPlan:
        settings = settings_for(kind, seen.target, seen.deliveries)
        if settings is None:
            raise AssertionError("a Job is planned only for a delivery with settings")
        uid = seen.export.metadata.uid
        manifest = delivery_manifest(seen, kind, settings, self._defaults, self._public_api)
        try:
            job = await self._writer.create_job(manifest)
        except ApiException as error:
            if error.status not in (400, 403, 422):
                raise
            plan = refused_delivery(seen, kind, brief(error))
            # A quota that is used up refuses the next one, too.
            refused = _EVERYBODY if _QUOTA_REFUSES in str(error.body) else uid
            pause = plan.pause or timedelta()
            self._pauses.begin((kind, refused), pause.total_seconds())
            self._leave(kind, uid)
            return plan
        if job.owner_uid != uid:
            self._leave(kind, uid)
            runs = {**seen.delivery_jobs, kind: SideJob(job)}
            return decide_delivery(replace(seen, delivery_jobs=runs), kind)
        return plan

    async def _write(self, export: BackupExport, told: Iterable[Condition]) -> None:
        old = export.status
        conditions = old.conditions
        for condition in told:
            conditions = with_condition(conditions, condition)
        status = old.model_copy(update={"conditions": conditions})
        if not any(map(is_pending, conditions_by_kind(status).values())):
            status = status.model_copy(update={"delivery_pending": None})
        patch = merge_patch(old, status)
        if not patch:
            return
        updated = await self._writer.patch_export_status(export, patch)
        if updated is None:
            return
        self._exports.note_written(updated)
        for kind, condition in settled_between(old, status):
            _logger.info("export %s: %s delivery: %s", export.job_id, kind, condition.reason)
            self._metrics.delivery_finished(kind, condition.reason)
        for event in events_between(old, status):
            self._recorder.record(export, event)

    def _forget(self, uid: str) -> None:
        for kind in self._slots:
            self._pauses.forget((kind, uid))
            self._leave(kind, uid)

    def _leave(self, kind: str, uid: str) -> None:
        following = self._slots[kind].leave(uid)
        if following is not None:
            self._work.ask(following)


def _takes_a_slot(job: ObservedJob | None) -> bool:
    """Whether the Job has a pod, or will have one."""
    if job is None or job.complete or job.failure is not None:
        return False
    return not job.suspended and not job.deleting
