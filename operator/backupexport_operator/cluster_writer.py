"""The operator's own requests to the Kubernetes API, besides kopf's watches."""

import hashlib
from typing import Any

import aiohttp
from backupexport_contract import names, timestamps
from backupexport_contract.kubernetes_model import ObjectMeta
from backupexport_contract.resources import BackupExport
from backupexport_contract.target_resource import ExportTarget
from kubernetes.aio import client, config
from kubernetes.aio.client.exceptions import ApiException

from backupexport_operator.facts import JobFacts, PodFacts, job_facts, pod_facts
from backupexport_operator.transition import EventFact

# The whole request, in seconds; the client hands a (connect, read) pair to aiohttp unread.
REQUEST_TIMEOUT = 15.0
# What a request ends with while the API server is away, refuses, or is slow.
SERVER_AWAY = (ApiException, aiohttp.ClientError, TimeoutError)
MERGE_PATCH = "application/merge-patch+json"
_COMPONENT = names.MANAGED_BY
_LONGEST_EVENT_MESSAGE = 1024


class ClusterWriter:
    """Reads what must be fresh and writes what was decided, in one namespace."""

    def __init__(self, api_client: client.ApiClient, namespace: str) -> None:
        self._namespace = namespace
        self._batch = client.BatchV1Api(api_client)
        self._core = client.CoreV1Api(api_client)
        self._custom = client.CustomObjectsApi(api_client)

    async def create_job(self, manifest: dict[str, Any]) -> JobFacts:
        """Create the Job, or find the one that has its name already."""
        try:
            job = await self._batch.create_namespaced_job(
                self._namespace,
                client.V1Job.model_validate(manifest),
                _request_timeout=REQUEST_TIMEOUT,
            )
        except ApiException as error:
            if error.status != 409:
                raise
            found = await self.read_job(manifest["metadata"]["name"])
            if found is None:
                raise
            return found
        return job_facts(_plain(job))

    async def read_job(self, name: str) -> JobFacts | None:
        """The Job as the API server has it now, or None."""
        try:
            job = await self._batch.read_namespaced_job(
                name, self._namespace, _request_timeout=REQUEST_TIMEOUT
            )
        except ApiException as error:
            if error.status == 404:
                return None
            raise
        return job_facts(_plain(job))

    async def delete_job(self, name: str) -> None:
        """Delete the Job and, by the garbage collector, its pods; gone already is fine."""
        try:
            await self._batch.delete_namespaced_job(
                name,
                self._namespace,
                propagation_policy="Background",
                _request_timeout=REQUEST_TIMEOUT,
            )
        except ApiException as error:
            if error.status != 404:
                raise

    async def list_pods(self, export_uid: str) -> list[PodFacts]:
        """The export's pods as the API server has them now."""
        pods = await self._core.list_namespaced_pod(
            self._namespace,
            label_selector=f"{names.LABEL_EXPORT_UID}={export_uid}",
            _request_timeout=REQUEST_TIMEOUT,
        )
        return [pod_facts(_plain(pod)) for pod in pods.items]

    async def read_export(self, name: str) -> BackupExport | None:
        """The BackupExport as the API server has it now, or None."""
        try:
            body = await self._custom.get_namespaced_custom_object(
                names.GROUP,
                names.VERSION,
                self._namespace,
                names.EXPORT_PLURAL,
                name,
                _request_timeout=REQUEST_TIMEOUT,
            )
        except ApiException as error:
            if error.status == 404:
                return None
            raise
        return BackupExport.model_validate(body)

    async def list_targets(self, project_id: str) -> list[ExportTarget]:
        """The project's ExportTargets as the API server has them now."""
        answer = await self._custom.list_namespaced_custom_object(
            names.GROUP,
            names.VERSION,
            self._namespace,
            names.TARGET_PLURAL,
            field_selector=f"spec.projectId={project_id}",
            _request_timeout=REQUEST_TIMEOUT,
        )
        return [ExportTarget.model_validate(item) for item in answer["items"]]

    async def patch_export_status(
        self, export: BackupExport, patch: dict[str, Any]
    ) -> BackupExport | None:
        """The BackupExport after the patch, or None where it is gone."""
        answer = await self._patch_status(names.EXPORT_PLURAL, export.metadata, patch)
        return None if answer is None else BackupExport.model_validate(answer)

    async def patch_target_status(self, target: ExportTarget, patch: dict[str, Any]) -> None:
        """Write to the ExportTarget's status; gone is fine."""
        await self._patch_status(names.TARGET_PLURAL, target.metadata, patch)

    async def _patch_status(self, plural: str, metadata: ObjectMeta, patch: dict[str, Any]) -> Any:
        # What was decided holds for the version that was seen: a patch that comes late must
        # miss (409) a changed resource, and a new one of the old one's name.
        body = {"metadata": {"resourceVersion": metadata.resource_version}, "status": patch}
        try:
            return await self._custom.patch_namespaced_custom_object_status(
                names.GROUP,
                names.VERSION,
                self._namespace,
                plural,
                metadata.name,
                body,
                _content_type=MERGE_PATCH,
                _request_timeout=REQUEST_TIMEOUT,
            )
        except ApiException as error:
            if error.status == 404:
                return None
            raise

    async def post_event(self, export: BackupExport, event: EventFact) -> None:
        """Post a core/v1 Event; its name follows from its content, so a repeat is one Event."""
        now = timestamps.to_text(timestamps.now())
        text = f"{export.metadata.uid}\n{event.type}\n{event.reason}\n{event.message}"
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        body = {
            "metadata": {
                "name": f"{export.metadata.name[:200]}.{digest}",
                "namespace": self._namespace,
            },
            "involvedObject": {
                "apiVersion": names.API_VERSION,
                "kind": names.EXPORT_KIND,
                "name": export.metadata.name,
                "namespace": self._namespace,
                "uid": export.metadata.uid,
            },
            "type": event.type,
            "reason": event.reason,
            "message": event.message[:_LONGEST_EVENT_MESSAGE],
            "source": {"component": _COMPONENT},
            "reportingComponent": _COMPONENT,
            "reportingInstance": _COMPONENT,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        try:
            await self._core.create_namespaced_event(
                self._namespace,
                client.CoreV1Event.model_validate(body),
                _request_timeout=REQUEST_TIMEOUT,
            )
        except ApiException as error:
            if error.status != 409:
                raise


async def connect(pool_size: int) -> client.ApiClient:
    """A client for the cluster this runs in, else for the current kubeconfig."""
    configuration = client.Configuration()
    try:
        config.load_incluster_config(client_configuration=configuration)
    except config.ConfigException:
        await config.load_kube_config(client_configuration=configuration)
    configuration.connection_pool_maxsize = pool_size
    return client.ApiClient(configuration)


async def kinds_are_served(api_client: client.ApiClient) -> bool:
    """Whether the API server knows both of our kinds by now."""
    try:
        served = await client.CustomObjectsApi(api_client).get_api_resources(
            names.GROUP, names.VERSION, _request_timeout=REQUEST_TIMEOUT
        )
    except ApiException as error:
        if error.status == 404:
            return False
        raise
    return {names.EXPORT_PLURAL, names.TARGET_PLURAL} <= {kind.name for kind in served.resources}


def _plain(model: Any) -> dict[str, Any]:
    """The API's own JSON shape of a client model, as kopf's watches have it too."""
    plain: dict[str, Any] = model.model_dump(mode="json", by_alias=True, exclude_none=True)
    return plain
