"""Writes to the Kubernetes API: Jobs, statuses, finalizers."""

from typing import Any

from backupexport_contract.backup_export import BackupExport
from backupexport_contract.export_target import ExportTarget
from backupexport_contract.kubernetes_model import ObjectMeta
from kubernetes.aio import client
from kubernetes.aio.client.exceptions import ApiException

from backupexport_operator.kube.reader import ClusterReader
from backupexport_operator.observed.jobs_and_pods import ObservedJob, observed_job

MERGE_PATCH = "application/merge-patch+json"


class ClusterWriter(ClusterReader):
    """Writes, too, in one namespace; to write to, or delete, what is gone is no error."""

    async def create_job(self, manifest: dict[str, Any]) -> ObservedJob:
        """Create the batch/v1 Job.  Returns it, or the one that has its name already."""
        try:
            job = await self._custom.create_namespaced_custom_object(
                *self._jobs, manifest, field_validation="Strict"
            )
        except ApiException as error:
            if error.status != 409:
                raise
            found = await self.read_job(manifest["metadata"]["name"])
            if found is None:
                raise
            return found
        return observed_job(job)

    async def delete_job(self, job: ObservedJob) -> None:
        """Delete this Job, and no other of its name; the garbage collector deletes its pods."""
        await self._delete(self._jobs, job.name, job.uid, propagationPolicy="Background")

    async def delete_export(self, export: BackupExport) -> None:
        """Delete this BackupExport, and no other of its name."""
        await self._delete(self._exports, export.metadata.name, export.metadata.uid)

    async def patch_finalizers(
        self, export: BackupExport, finalizers: list[str]
    ) -> BackupExport | None:
        """Replace the finalizers.  Returns the BackupExport as it is then; None if it is gone."""
        answer = await self._patch(self._exports, export.metadata, finalizers=finalizers)
        return None if answer is None else BackupExport.model_validate(answer)

    async def patch_export_status(
        self, export: BackupExport, patch: dict[str, Any]
    ) -> BackupExport | None:
        """Apply a merge patch to the status.  Returns the BackupExport then; None if it is gone."""
        answer = await self._patch(self._exports, export.metadata, patch)
        return None if answer is None else BackupExport.model_validate(answer)

    async def patch_target_status(self, target: ExportTarget, patch: dict[str, Any]) -> None:
        """Apply a merge patch to the ExportTarget's status."""
        await self._patch(self._targets, target.metadata, patch)

    async def _patch(
        self,
        where: tuple[str, ...],
        seen: ObjectMeta,
        status: dict[str, Any] | None = None,
        **metadata: Any,
    ) -> Any:
        # A decision is good for the version that it was made on.  A late patch must fail (409) if
        # the resource has changed, or is a new one of the old one's name.
        body: dict[str, Any] = {"metadata": {"resourceVersion": seen.resource_version, **metadata}}
        method = self._custom.patch_namespaced_custom_object
        if status is not None:
            body["status"] = status
            method = self._custom.patch_namespaced_custom_object_status
        try:
            return await method(*where, seen.name, body, _content_type=MERGE_PATCH)
        except ApiException as error:
            if error.status == 404:
                return None
            raise

    async def _delete(self, where: tuple[str, ...], name: str, uid: str, **options: str) -> None:
        body = client.V1DeleteOptions.model_validate({"preconditions": {"uid": uid}, **options})
        try:
            await self._custom.delete_namespaced_custom_object(*where, name, body=body)
        except ApiException as error:
            # 409: it is another one of the name.
            if error.status not in (404, 409):
                raise
