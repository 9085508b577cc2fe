"""Lists and watches for the caches, in their own threads: the library's informer blocks."""

import os
from typing import Any

import urllib3
from backupexport_contract import names
from kubernetes import client, config

from backupexport_api.trust import bare_context

# A kept-alive connection may have been closed at the other end: that is worth one more try.
_RETRIES = urllib3.Retry(1, connect=0, status=0, redirect=0, other=0, allowed_methods={"GET"})


class KubernetesLists:
    """The objects of one namespace.  Each call blocks."""

    def __init__(self, custom_objects: client.CustomObjectsApi, namespace: str) -> None:
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
        configuration = client.Configuration()
        if "KUBERNETES_SERVICE_HOST" in os.environ:
            config.load_incluster_config(client_configuration=configuration)
        else:
            config.load_kube_config(client_configuration=configuration)
        configuration.retries = _RETRIES
        configuration.keep_alive = True
        api_client = client.ApiClient(configuration)
        context = bare_context(is_verified=configuration.verify_ssl)
        api_client.rest_client.pool_manager.connection_pool_kw["ssl_context"] = context
        return cls(client.CustomObjectsApi(api_client), namespace)

    def list_objects(self, plural: str, **options: Any) -> Any:
        """List or, with watch=True, watch; options as the client library has them."""
        return self._custom_objects.list_namespaced_custom_object(
            plural=plural, **self._scope, **options
        )
