"""Makes the Jobs that clean up after exports, and takes our finalizer off them."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from backupexport_contract import names, timestamps
from backupexport_contract.backup_export import BackupExport
from kubernetes.aio.client.exceptions import ApiException

from backupexport_operator.kube.client import NotNowError, brief, is_unanswered
from backupexport_operator.kube.cluster import Cluster
from backupexport_operator.manifests.jobs import cleanup_manifest, removal_manifest
from backupexport_operator.manifests.pod import JobSettings
from backupexport_operator.observed.jobs_and_pods import ObservedJob
from backupexport_operator.observed.places import Place, is_reachable, without_storage

# How long a Job is tried again that a quota or a webhook refuses: either may let it pass later.
_PATIENCE_SECONDS = 300.0


class CleanupRefusedError(NotNowError):
    """The API server has refused the cleanup's Job for some time, or nobody knows the bucket."""

    def __init__(self, name: str, why: str, *, namespace_is_ending: bool = False) -> None:
        super().__init__(f"a cleanup can't be created: {why}")
        self.namespace_is_ending = namespace_is_ending
        self.as_failed_job = ObservedJob(
            name,
            "",
            created_at=timestamps.to_text(timestamps.now()),
            failure="Refused",
            failure_message=str(self),
        )


@dataclass
class CleanupJobs:
    """Creates cleanups' Jobs, and remembers since when one is refused."""

    cluster: Cluster
    defaults: JobSettings
    _refused_since: dict[str, float] = field(default_factory=dict, init=False)

    async def create(
        self,
        export: BackupExport,
        task: str,
        place: Place | None,
        *,
        is_owned: bool = True,
    ) -> None:
        """Create the Job for `task` at `place`, which is None for a storage that is none any more.

        Raises CleanupRefusedError if that can't be, ApiException 409 while the Job of an earlier
        export has its name.
        """
        if place is None or not is_reachable(place, self.defaults.storages):
            name = names.task_job_name(export.metadata.name, task)
            raise CleanupRefusedError(name, without_storage(place, export.status.storage))
        manifest = cleanup_manifest(export, task, self.defaults, place, is_owned=is_owned)
        job = await self._create(manifest)
        owner = export.metadata.uid if is_owned else ""
        if (job.export_uid, job.owner_uid) == (export.metadata.uid, owner):
            return
        # An earlier export's of this name, or one about to go with this export: ours comes after.
        await self._make_way(job)

    async def create_batch(self, exports: Sequence[BackupExport], place: Place) -> ObservedJob:
        """Create the Job that removes these exports' files, which are all at `place`.

        Returns it, or the one that somebody else has made meanwhile.  Raises CleanupRefusedError if
        the API server refuses it, ApiException 409 while an earlier one has its name.
        """
        job = await self._create(removal_manifest(exports, place, self.defaults))
        if job.complete or job.failure or job.deleting:
            await self._make_way(job)
        return job

    async def _create(self, manifest: dict[str, Any]) -> ObservedJob:
        name = manifest["metadata"]["name"]
        try:
            job = await self.cluster.create_job(manifest)
        except Exception as error:
            if is_unanswered(error) and (there := await self.cluster.read_job(name)) is not None:
                return there
            if not isinstance(error, ApiException) or error.status not in (400, 403, 422):
                raise
            if error.status == 403 and not _namespace_is_ending(error):
                since = self._refused_since.setdefault(name, time.monotonic())
                if time.monotonic() - since < _PATIENCE_SECONDS:
                    raise
            self._refused_since.pop(name, None)
            raise CleanupRefusedError(
                name, brief(error), namespace_is_ending=_namespace_is_ending(error)
            ) from error
        self._refused_since.pop(name, None)
        return job

    async def _make_way(self, job: ObservedJob) -> NoReturn:
        if job.complete or job.failure:
            await self.cluster.delete_job(job)
        raise ApiException(status=409, reason=f"another cleanup is called {job.name}")

    async def release_finalizer(self, export: BackupExport) -> BackupExport | None:
        """Take our finalizer off.  Returns the export as it is then; None if it is gone."""
        others = [name for name in export.metadata.finalizers if name != names.FINALIZER]
        return await self.cluster.patch_finalizers(export, others)


def _namespace_is_ending(error: ApiException) -> bool:
    return "NamespaceTerminating" in str(error.body)
