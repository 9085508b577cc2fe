"""Calls to the Kubernetes API in one namespace: on the event loop, and lists that block."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Self

from backupexport_contract import names
from backupexport_runtime import cluster
from kubernetes import client as blocking
from kubernetes.aio import client
from kubernetes.aio.client.exceptions import ApiException

from backupexport_api.kube.errors import is_another, is_missing, is_taken

_MOST_CONNECTIONS = 32

ListObjects = Callable[..., Any]
"""Lists the objects of a plural or, with watch=True, watches; further options are the client
library's.  A call blocks."""


def connect_lists(namespace: str) -> ListObjects:
    """Find the cluster; ConfigException where there is none."""
    api = blocking.CustomObjectsApi(cluster.blocking_client())
    return partial(api.list_namespaced_custom_object, **_scope(namespace))


class KubernetesObjects:
    """Single objects; the time limit of a call is the caller's."""

    def __init__(self, api_client: client.ApiClient, namespace: str) -> None:
        self._api_client = api_client
        self._objects = client.CustomObjectsApi(api_client)
        self._scope = _scope(namespace)

    @classmethod
    async def connect(cls, namespace: str) -> Self:
        """Find the cluster; ConfigException where there is none."""
        configuration = await cluster.async_configuration(_MOST_CONNECTIONS)
        return cls(client.ApiClient(configuration), namespace)

    async def close(self) -> None:
        """Close the connections."""
        await self._api_client.close()

    async def are_there(self, plural: str, field_selector: str | None = None) -> bool:
        """Return whether there is any object that the selector fits."""
        page = await self._objects.list_namespaced_custom_object(
            plural=plural, limit=1, field_selector=field_selector, **self._scope
        )
        return bool(page["items"])

    async def get(self, plural: str, name: str) -> dict[str, Any] | None:
        """Read one object; None where there is none."""
        call = self._objects.get_namespaced_custom_object(plural=plural, name=name, **self._scope)
        return await _or_none(call, lambda error: is_missing(error, name))

    async def create(self, plural: str, manifest: dict[str, Any]) -> dict[str, Any] | None:
        """Store an object and return it as stored; None where its name is taken."""
        call = self._objects.create_namespaced_custom_object(
            plural=plural, body=manifest, field_validation="Strict", **self._scope
        )
        return await _or_none(call, is_taken)

    async def patch(self, plural: str, name: str, patch: dict[str, Any]) -> dict[str, Any] | None:
        """Merge `patch` into an object (RFC 7386); None where none has its name, or its uid."""
        call = self._objects.patch_namespaced_custom_object(
            plural=plural,
            name=name,
            body=patch,
            field_validation="Strict",
            **self._scope,
            _content_type="application/merge-patch+json",
        )
        return await _or_none(call, lambda error: is_missing(error, name) or is_another(error))


def _scope(namespace: str) -> dict[str, str]:
    return {"group": names.GROUP, "version": names.VERSION, "namespace": namespace}


async def _or_none(
    call: Awaitable[dict[str, Any]], means_none: Callable[[ApiException], bool]
) -> dict[str, Any] | None:
    try:
        return await call
    except ApiException as error:
        if means_none(error):
            return None
        raise
