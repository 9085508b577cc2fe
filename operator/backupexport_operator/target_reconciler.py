"""Keeps the Ready condition of ExportTargets up to date."""

from backupexport_contract import timestamps
from backupexport_contract.kubernetes_model import Condition
from backupexport_contract.target_resource import ExportTarget, ExportTargetStatus

from backupexport_operator.cluster_writer import ClusterWriter
from backupexport_operator.keyed_tasks import KeyedTasks
from backupexport_operator.kubernetes_client import SERVER_AWAY, brief
from backupexport_operator.metrics import OperatorMetrics
from backupexport_operator.sightings import Index, values
from backupexport_operator.targets import readiness
from backupexport_operator.transition import merge_patch, with_condition

_PARALLEL = 4


class TargetReconciler:
    """One run for each project, because targets of one project are rivals."""

    def __init__(
        self, targets: Index[ExportTarget], writer: ClusterWriter, metrics: OperatorMetrics
    ) -> None:
        self._targets = targets
        self._writer = writer
        self.projects: KeyedTasks[str] = KeyedTasks(
            self._reconcile, _PARALLEL, SERVER_AWAY, brief, metrics.reconciled
        )

    def resync(self) -> None:
        """Ask for every project, whether or not an event came."""
        for project_id in list(self._targets.keys()):
            self.projects.ask(project_id)

    async def _reconcile(self, project_id: str) -> None:
        rivals = list(values(self._targets, project_id))
        for target in rivals:
            patch = merge_patch(target.status, _wanted(target, rivals))
            if patch:
                await self._writer.patch_target_status(target, patch)


def _wanted(target: ExportTarget, rivals: list[ExportTarget]) -> ExportTargetStatus:
    ready, reason, message = readiness(target, rivals)
    condition = Condition(
        type="Ready",
        status="True" if ready else "False",
        reason=reason,
        message=message,
        last_transition_time=timestamps.to_text(timestamps.now()),
        observed_generation=target.metadata.generation,
    )
    return target.status.model_copy(
        update={
            "observed_generation": target.metadata.generation,
            "conditions": with_condition(target.status.conditions, condition),
        }
    )
