"""Writes the conditions of ExportTargets."""

from collections.abc import Callable, Collection

from backupexport_contract.export_target import ExportTarget
from backupexport_contract.storages import DEFAULT_NAME

from backupexport_operator.kube.cluster import Cluster
from backupexport_operator.kube.work_queue import WorkQueue
from backupexport_operator.manifests.status import merge_patch
from backupexport_operator.observed.export_cache import Index, values
from backupexport_operator.observed.storage_state import StorageState
from backupexport_operator.target.decision import wanted_status
from backupexport_operator.telemetry.metrics import OperatorMetrics

_PARALLEL = 4


class TargetReconciler:
    """Works on one project at a time, because the targets of a project are rivals."""

    def __init__(
        self,
        targets: Index[ExportTarget],
        writer: Cluster,
        metrics: OperatorMetrics,
        storages: Collection[str],
        own_secrets: Collection[str] = (),
        state_of: Callable[[str], StorageState] | None = None,
    ) -> None:
        """`state_of` tells of storages by their names; None if they are not checked."""
        self._state_of = state_of
        self._storages = storages
        self._own_secrets = own_secrets
        self._targets = targets
        self._writer = writer
        self.queue = WorkQueue(self._reconcile, _PARALLEL, metrics.reconciled)

    def resync(self) -> None:
        """Work on every project, because a watch may have missed something."""
        for project_id in list(self._targets.keys()):
            self.queue.ask(project_id)

    async def _reconcile(self, project_id: str) -> None:
        rivals = list(values(self._targets, project_id))
        for target in rivals:
            name = target.spec.storage or DEFAULT_NAME
            state = self._state_of(name) if self._state_of else None
            wanted = wanted_status(target, rivals, self._storages, self._own_secrets, state)
            patch = merge_patch(target.status, wanted)
            if patch:
                await self._writer.patch_target_status(target, patch)
