"""Single calls to the Kubernetes API, on the event loop: a request waits in no worker thread."""

import os
from typing import Any

from backupexport_contract import names
from kubernetes.aio import client, config
from kubernetes.aio.client.exceptions import ApiException

from backupexport_api.kubernetes_errors import is_another, is_missing, is_taken

# How many calls there are at once; more of them wait, within their own time limits.
_MOST_CONNECTIONS = 32


class KubernetesObjects:
    """The objects of one namespace; the time limit of a call is the caller's."""

    def __init__(self, api_client: client.ApiClient, namespace: str) -> None:
        self._api_client = api_client
        self._custom_objects = client.CustomObjectsApi(api_client)
        self._scope = {
            "group": names.GROUP,
            "version": names.VERSION,
            "namespace": namespace,
        }

    @classmethod
    async def connect(cls, namespace: str) -> "KubernetesObjects":
        """Find the cluster: the pod's own, else kubeconfig's; ConfigException where there is none.

        Nothing is sent yet, and nothing belongs to this event loop.
        """
        configuration = client.Configuration()
        if "KUBERNETES_SERVICE_HOST" in os.environ:
            config.load_incluster_config(client_configuration=configuration)
        else:
            await config.load_kube_config(client_configuration=configuration)
        configuration.connection_pool_maxsize = _MOST_CONNECTIONS
        # See `trust`.
        configuration.disable_strict_ssl_verification = True
        # Else aiohttp asks two threads before each request, for .netrc and for a proxy.
        configuration.client_session_kwargs = {"trust_env": False}
        return cls(client.ApiClient(configuration), namespace)

    async def close(self) -> None:
        """Close the connections."""
        await self._api_client.close()

    async def are_there(self, plural: str, field_selector: str | None = None) -> bool:
        """Whether there is any object that the selector fits."""
        page = await self._custom_objects.list_namespaced_custom_object(
            plural=plural,
            limit=1,
            field_selector=field_selector,
            **self._scope,
        )
        return bool(page["items"])

    async def get(self, plural: str, name: str) -> dict[str, Any] | None:
        """Read one object; None where there is none."""
        try:
            found: dict[str, Any] = await self._custom_objects.get_namespaced_custom_object(
                plural=plural, name=name, **self._scope
            )
        except ApiException as error:
            if is_missing(error, name):
                return None
            raise
        return found

    async def create(self, plural: str, manifest: dict[str, Any]) -> dict[str, Any] | None:
        """Store an object and return it as stored; None where its name is taken."""
        try:
            created: dict[str, Any] = await self._custom_objects.create_namespaced_custom_object(
                plural=plural,
                body=manifest,
                field_validation="Strict",
                **self._scope,
            )
        except ApiException as error:
            if is_taken(error):
                return None
            raise
        return created

    async def patch(self, plural: str, name: str, patch: dict[str, Any]) -> dict[str, Any] | None:
        """Merge `patch` into an object (RFC 7386) and return it whole; None where there is none.

        A uid in `patch` must be the object's own: another one of its name is none.
        """
        try:
            patched: dict[str, Any] = await self._custom_objects.patch_namespaced_custom_object(
                plural=plural,
                name=name,
                body=patch,
                field_validation="Strict",
                **self._scope,
                _content_type="application/merge-patch+json",
            )
        except ApiException as error:
            if is_missing(error, name) or is_another(error):
                return None
            raise
        return patched
