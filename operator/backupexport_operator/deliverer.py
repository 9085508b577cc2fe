"""Has exports that have ended delivered to their owners, see `delivery_decision`."""

import logging
from collections.abc import Iterable, Mapping

from backupexport_contract.delivery_conditions import conditions_by_kind, is_pending
from backupexport_contract.delivery_settings import Deliveries
from backupexport_contract.kubernetes_model import Condition
from backupexport_contract.resources import BackupExport
from kubernetes.aio.client.exceptions import ApiException

from backupexport_operator.cluster_reader import AWAITING_DELIVERY, ClusterReader
from backupexport_operator.cluster_writer import ClusterWriter
from backupexport_operator.delivery_choice import (
    settings_for,
    settled_between,
)
from backupexport_operator.delivery_decision import (
    DeliveryPlan,
    DeliveryStep,
    decide_delivery,
    refused_delivery,
)
from backupexport_operator.delivery_manifest import PublicApi, delivery_manifest
from backupexport_operator.delivery_slots import DeliverySlots
from backupexport_operator.event_poster import EventPoster
from backupexport_operator.finished_exports import FinishedExports
from backupexport_operator.job_manifest import RunnerDefaults
from backupexport_operator.keyed_tasks import KeyedTasks
from backupexport_operator.kubernetes_client import SERVER_AWAY, brief
from backupexport_operator.metrics import OperatorMetrics
from backupexport_operator.observation import Observation
from backupexport_operator.sightings import Sightings
from backupexport_operator.transition import events_between, merge_patch, with_condition

_logger = logging.getLogger(__name__)

_PARALLEL = 4
# Of one kind; each is a pod.
_MOST_DELIVERIES = 20


class Deliverer:
    """Watches finished exports with deliveries to be made, and makes them."""

    def __init__(
        self,
        sightings: Sightings,
        reader: ClusterReader,
        writer: ClusterWriter,
        poster: EventPoster,
        defaults: RunnerDefaults,
        public_api: PublicApi,
        metrics: OperatorMetrics,
    ) -> None:
        self._sightings = sightings
        self._writer = writer
        self._poster = poster
        self._defaults = defaults
        self._public_api = public_api
        self._metrics = metrics
        self._slots = {kind: DeliverySlots(_MOST_DELIVERIES) for kind in Deliveries.kinds()}
        self._work: KeyedTasks[str] = KeyedTasks(self._deliver, _PARALLEL, SERVER_AWAY, brief)
        self._exports = FinishedExports(reader, AWAITING_DELIVERY, self._work.ask, self._forget)
        self.watch_for_ever = self._exports.watch_for_ever
        self.stop = self._work.stop

    def pending(self) -> Mapping[str, int]:
        """How many deliveries of each kind are still to be made."""
        counts = dict.fromkeys(Deliveries.kinds(), 0)
        for export in self._exports.all():
            for kind, condition in conditions_by_kind(export.status).items():
                counts[kind] += is_pending(condition)
        return counts

    def ask(self, uid: str) -> None:
        """A Job or Pod of the export changed."""
        if self._exports.get(uid) is not None:
            self._work.ask(uid)

    async def _deliver(self, uid: str) -> None:
        export = self._exports.get(uid)
        if export is None or export.metadata.deletion_timestamp is not None:
            self._forget(uid)
            return
        seen = self._sightings.observe(export)
        pending = [
            kind for kind, told in conditions_by_kind(export.status).items() if is_pending(told)
        ]
        plans = {kind: decide_delivery(seen, kind) for kind in pending}
        for kind, plan in plans.items():
            plans[kind] = await self._take(seen, kind, plan)
        await self._write(export, [plan.condition for plan in plans.values()])
        delays = [plan.recheck_after for plan in plans.values() if plan.recheck_after is not None]
        if delays:
            self._work.ask(uid, delay=min(delays).total_seconds())

    async def _take(self, seen: Observation, kind: str, plan: DeliveryPlan) -> DeliveryPlan:
        """Take the step; another plan where the API server will have no such Job."""
        uid, project_id = seen.export.metadata.uid, seen.export.spec.project_id
        job = seen.delivery_runs[kind].job
        if plan.step is DeliveryStep.CREATE:
            if self._slots[kind].take(uid, project_id):
                return await self._create(seen, kind, plan)
        elif job is not None and not job.complete and job.failure is None:
            self._slots[kind].hold(uid, project_id)
        else:
            self._leave(kind, uid)
        if plan.step is DeliveryStep.DELETE and job is not None:
            await self._writer.delete_job(job)
        return plan

    async def _create(self, seen: Observation, kind: str, plan: DeliveryPlan) -> DeliveryPlan:
        settings = settings_for(kind, seen.target, seen.deliveries)
        if settings is None:
            raise AssertionError("a Job is planned only for a delivery with settings")
        manifest = delivery_manifest(seen.export, kind, settings, self._defaults, self._public_api)
        try:
            await self._writer.create_job(manifest)
        except ApiException as error:
            if error.status not in (400, 403, 422):
                raise
            self._leave(kind, seen.export.metadata.uid)
            return refused_delivery(seen, kind, settings, brief(error))
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
            self._poster.post(export, event)

    def _forget(self, uid: str) -> None:
        for kind in self._slots:
            self._leave(kind, uid)

    def _leave(self, kind: str, uid: str) -> None:
        following = self._slots[kind].leave(uid)
        if following is not None:
            self._work.ask(following)
