"""The two ways to the Kubernetes API: calls on the event loop, and lists and watches that block."""

import os
import ssl
from typing import Any

import urllib3
from backupexport_contract import names
from backupexport_runtime.tls import TOO_STRICT
from kubernetes import client as blocking_client
from kubernetes import config as blocking_config
from kubernetes.aio import client, config
from kubernetes.aio.client.exceptions import ApiException
from urllib3.util.ssl_ import create_urllib3_context

from backupexport_api.kube.errors import is_another, is_missing, is_taken

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
        # As `backupexport_runtime.tls` explains.
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


# A kept-alive connection may have been closed at the other end: that is worth one more try.
_RETRIES = urllib3.Retry(1, connect=0, status=0, redirect=0, other=0, allowed_methods={"GET"})


class KubernetesLists:
    """The objects of one namespace.  Each call blocks."""

    def __init__(self, custom_objects: blocking_client.CustomObjectsApi, namespace: str) -> None:
        self._custom_objects = custom_objects
        self._scope = {
            "group": names.GROUP,
            "version": names.VERSION,
            "namespace": namespace,
        }

    @classmethod
    def connect(cls, namespace: str) -> "KubernetesLists":
        """Find the cluster: the pod's own, else kubeconfig's; ConfigException where there is none.

        Nothing is sent yet.
        """
        configuration = blocking_client.Configuration()
        if "KUBERNETES_SERVICE_HOST" in os.environ:
            blocking_config.load_incluster_config(client_configuration=configuration)
        else:
            blocking_config.load_kube_config(client_configuration=configuration)
        configuration.retries = _RETRIES
        configuration.keep_alive = True
        api_client = blocking_client.ApiClient(configuration)
        context = bare_context(is_verified=configuration.verify_ssl)
        api_client.rest_client.pool_manager.connection_pool_kw["ssl_context"] = context
        return cls(blocking_client.CustomObjectsApi(api_client), namespace)

    def list_objects(self, plural: str, **options: Any) -> Any:
        """List or, with watch=True, watch; options as the client library has them."""
        return self._custom_objects.list_namespaced_custom_object(
            plural=plural, **self._scope, **options
        )


def bare_context(*, is_verified: bool) -> ssl.SSLContext:
    """For urllib3 to put certificates in."""
    context = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED if is_verified else ssl.CERT_NONE)
    context.verify_flags &= ~TOO_STRICT
    return context
