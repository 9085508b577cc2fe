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

# How long a Job is tried again that a quota or a webhook refuses: either may let it pass later.
_PATIENCE_SECONDS = 300.0


class CleanupRefusedError(NotNowError):
    """The API server refuses the cleanup's Job, and has done so for some time."""

    def __init__(self, manifest: dict[str, Any], error: ApiException) -> None:
        super().__init__(f"a cleanup can't be created: {brief(error)}")
        self.namespace_is_ending = _namespace_is_ending(error)
        name = manifest["metadata"]["name"]
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
        *,
        is_owned: bool = True,
        claim: str | None = None,
    ) -> None:
        """Create the Job for `task`, on the volume of `claim` or else of the chart's.

        Raises CleanupRefusedError if the API server refuses it, ApiException 409 while the Job of
        an earlier export has its name.
        """
        manifest = cleanup_manifest(export, task, self.defaults, is_owned=is_owned, claim=claim)
        job = await self._create(manifest)
        owner = export.metadata.uid if is_owned else ""
        if (job.export_uid, job.owner_uid) == (export.metadata.uid, owner):
            return
        # An earlier export's of this name, or one about to go with this export: ours comes after.
        await self._make_way(job)

    async def create_batch(self, exports: Sequence[BackupExport], claim: str) -> ObservedJob:
        """Create the Job that removes these exports' files from the volume of `claim`.

        Returns it, or the one that somebody else has made meanwhile.  Raises CleanupRefusedError if
        the API server refuses it, ApiException 409 while an earlier one has its name.
        """
        job = await self._create(removal_manifest(exports, claim, self.defaults))
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
            raise CleanupRefusedError(manifest, error) from error
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
