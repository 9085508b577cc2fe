"""Makes, watches and ends the Jobs that clean up after exports, and lets go of finalizers."""

from typing import Any

from backupexport_contract import names
from backupexport_contract.resources import BackupExport
from kubernetes.aio.client.exceptions import ApiException

from backupexport_operator.cleanup_manifest import cleanup_manifest
from backupexport_operator.cluster_writer import ClusterWriter
from backupexport_operator.facts import JobFacts
from backupexport_operator.job_manifest import RunnerDefaults


class CleanupRefusedError(Exception):
    """The API server will have no such Job, now or later."""

    def __init__(self, manifest: dict[str, Any], error: ApiException) -> None:
        super().__init__(f"a cleanup can't be created: {error.status} {error.reason}")
        self.namespace_is_ending = "NamespaceTerminating" in str(error.body)
        self.as_failed_job = JobFacts(
            name=manifest["metadata"]["name"],
            owner_uid="",
            failure="Refused",
            failure_message=str(self),
        )


class Cleaner:
    """Applies what a decision says about cleanups."""

    def __init__(self, writer: ClusterWriter, defaults: RunnerDefaults) -> None:
        self._writer = writer
        self._defaults = defaults

    async def create(self, export: BackupExport, task: str, *, is_owned: bool = True) -> None:
        """Create the Job for `task`; CleanupRefusedError where that can't be."""
        manifest = cleanup_manifest(export, task, self._defaults, is_owned=is_owned)
        try:
            job = await self._writer.create_job(manifest)
        except ApiException as error:
            if error.status in (400, 403, 422):
                raise CleanupRefusedError(manifest, error) from error
            raise
        owner = export.metadata.uid if is_owned else ""
        if (job.export_uid, job.owner_uid) == (export.metadata.uid, owner):
            return
        # What an earlier export of this name left, or what the garbage collector is about to take
        # with this export: ours is made when that is gone.
        if job.complete or job.failure:
            await self._writer.delete_job(job.name)
        raise ApiException(status=409, reason=f"another cleanup is called {job.name}")

    async def delete(self, export: BackupExport, task: str) -> None:
        """Delete the Job for `task`, so that it can be made anew."""
        await self._writer.delete_job(names.cleanup_job_name(export.metadata.name, task))

    async def release(self, export: BackupExport) -> BackupExport | None:
        """Take our finalizer away; None where the export is gone."""
        others = [name for name in export.metadata.finalizers if name != names.FINALIZER]
        return await self._writer.patch_finalizers(export, others)
