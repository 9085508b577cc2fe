"""Has each storage checked by Jobs, and knows what they found."""

import logging
from collections.abc import Callable, Iterator

from backupexport_contract import names, timestamps

from backupexport_operator.kube.cluster import Cluster
from backupexport_operator.kube.work_queue import WorkQueue
from backupexport_operator.manifests.jobs import storage_check_manifest
from backupexport_operator.manifests.pod import JobSettings
from backupexport_operator.observed.export_cache import World, values
from backupexport_operator.observed.observation import SideJob
from backupexport_operator.observed.places import place_of
from backupexport_operator.observed.storage_state import (
    NOT_THERE,
    UNCHECKED,
    StorageState,
    storage_state,
)
from backupexport_operator.storage_check.decision import CheckStep, decide_check
from backupexport_operator.telemetry.metrics import OperatorMetrics

_logger = logging.getLogger(__name__)

_PARALLEL = 2


class StorageChecks:
    """Works on one check at a time; `changed` is called when a storage's state is another one."""

    def __init__(
        self,
        world: World,
        cluster: Cluster,
        defaults: JobSettings,
        metrics: OperatorMetrics,
        changed: Callable[[], None],
    ) -> None:
        self._world = world
        self._cluster = cluster
        self._changed = changed
        places = filter(None, (place_of(name, defaults.storages) for name in defaults.storages))
        self._manifests = {
            place.storage: storage_check_manifest(place, defaults) for place in places
        }
        self._job_names = {
            storage: str(manifest["metadata"]["name"])
            for storage, manifest in self._manifests.items()
        }
        # What was known last, and of which check's Job (its uid).
        self._known: dict[str, tuple[str, StorageState]] = {}
        self.queue = WorkQueue(self._reconcile, _PARALLEL, metrics.reconciled)

    def state(self, storage: str) -> StorageState:
        """Returns what is known of the storage of this name."""
        if storage not in self._job_names:
            return NOT_THERE
        found = self._found(storage, self._check(self._job_names[storage]))
        return found or self._known.get(storage, ("", UNCHECKED))[1]

    def _found(self, storage: str, check: SideJob) -> StorageState | None:
        found = storage_state(check)
        uid, known = self._known.get(storage, ("", UNCHECKED))
        job = check.job
        has_failed = job is not None and job.uid == uid and job.failure is not None
        if has_failed and not check.pods and known.status == "False":
            # Its pod told why, and is gone.
            return known
        return found

    def ready(self) -> dict[str, bool | None]:
        """Returns by name whether a storage works, None where that is not known."""
        states = {name: self.state(name).status for name in self._job_names}
        told = {"True": True, "False": False}
        return {name: told.get(status) for name, status in states.items()}

    def ask(self, job_name: str) -> None:
        """Work on a check whose Job or pod has changed."""
        if names.is_storage_check(job_name):
            self.queue.ask(job_name)

    def resync(self) -> None:
        """Work on every check, also on those of storages that are none any more."""
        for name in (*self._job_names.values(), *self._outdated()):
            self.queue.ask(name)

    def _outdated(self) -> Iterator[str]:
        wanted = set(self._job_names.values())
        jobs = (name for name in list(self._world.jobs.keys()) if names.is_storage_check(name))
        return (name for name in jobs if name not in wanted)

    def _check(self, job_name: str) -> SideJob:
        job = next(values(self._world.jobs, job_name), None)
        # Pods of the one before it may still be there.
        pods = (pod for pod in values(self._world.pods, job_name) if job and pod.job_uid == job.uid)
        return SideJob(job, tuple(pods))

    async def _reconcile(self, job_name: str) -> None:
        check = self._check(job_name)
        storage = next((it for it, name in self._job_names.items() if name == job_name), None)
        if storage is None:
            if check.job is not None:
                await self._cluster.delete_job(check.job)
            return
        found = self._found(storage, check)
        if found is not None and check.job is not None:
            is_new = found != self._known.get(storage, ("", None))[1]
            self._known[storage] = check.job.uid, found
            if is_new:
                self._tell(storage, found)
        plan = decide_check(check, timestamps.now())
        if plan.step is CheckStep.CREATE:
            await self._cluster.create_job(self._manifests[storage])
        elif plan.step is CheckStep.DELETE and check.job is not None:
            await self._cluster.delete_job(check.job)
        if plan.recheck_after is not None:
            self.queue.ask(job_name, delay=plan.recheck_after.total_seconds())

    def _tell(self, storage: str, found: StorageState) -> None:
        level = logging.WARNING if found.status == "False" else logging.INFO
        _logger.log(level, "storage %s: %s: %s", storage, found.reason, found.message)
        self._changed()
