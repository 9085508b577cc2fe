"""How a program finds the Kubernetes API: its pod's own cluster, else the current kubeconfig.

The two clients of the kubernetes package, the one that waits on an event loop and the one that
blocks, are set up here.  Nothing is sent yet.  Both functions raise a ConfigException (each client
has its own) where there is no cluster to be found.
"""

import os
import ssl

from kubernetes import aio, client, config
from urllib3 import Retry
from urllib3.util.ssl_ import create_urllib3_context

from backupexport_runtime.tls import TOO_STRICT

# A kept-alive connection may have been closed at the other end: that is worth one more try.
_RETRIES = Retry(1, connect=0, status=0, redirect=0, other=0, allowed_methods={"GET"})


async def async_configuration(most_connections: int) -> aio.client.Configuration:
    """Return the settings of a client that waits; nothing in them belongs to this event loop.

    Calls beyond `most_connections` at once wait, within their own time limits.
    """
    configuration = aio.client.Configuration()
    if _is_in_cluster():
        aio.config.load_incluster_config(client_configuration=configuration)
    else:
        await aio.config.load_kube_config(client_configuration=configuration)
    configuration.connection_pool_maxsize = most_connections
    # `tls` says why.
    configuration.disable_strict_ssl_verification = True
    # Else aiohttp asks two threads before each request, for .netrc and for a proxy.
    configuration.client_session_kwargs = {"trust_env": False}
    return configuration


def blocking_client() -> client.ApiClient:
    """Return a client whose calls block."""
    configuration = client.Configuration()
    if _is_in_cluster():
        config.load_incluster_config(client_configuration=configuration)
    else:
        config.load_kube_config(client_configuration=configuration)
    configuration.retries = _RETRIES
    configuration.keep_alive = True
    api_client = client.ApiClient(configuration)
    # urllib3 puts the cluster's certificates into it.
    context = create_urllib3_context(
        cert_reqs=ssl.CERT_REQUIRED if configuration.verify_ssl else ssl.CERT_NONE
    )
    context.verify_flags &= ~TOO_STRICT
    api_client.rest_client.pool_manager.connection_pool_kw["ssl_context"] = context
    return api_client


def _is_in_cluster() -> bool:
    return bool(os.environ.get("KUBERNETES_SERVICE_HOST"))
