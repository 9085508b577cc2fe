"""How a program finds the Kubernetes API: its pod's own cluster, else the current kubeconfig.

The two clients of the kubernetes package, the one that waits on an event loop and the one that
blocks, are set up here.  Nothing is sent yet.  Both functions raise a ConfigException (each client
has its own) where there is no cluster to be found.
"""

import os

from kubernetes import aio, client, config
from urllib3 import HTTPSConnectionPool, Retry
from urllib3.connection import HTTPSConnection
from urllib3.util.ssl_ import create_urllib3_context, resolve_cert_reqs

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
    """Return a client whose calls block; any number of threads may share it."""
    configuration = client.Configuration()
    if _is_in_cluster():
        config.load_incluster_config(client_configuration=configuration)
    else:
        config.load_kube_config(client_configuration=configuration)
    configuration.retries = _RETRIES
    configuration.keep_alive = True
    api_client = client.ApiClient(configuration)
    pool_manager = api_client.rest_client.pool_manager
    pool_manager.pool_classes_by_scheme = {**pool_manager.pool_classes_by_scheme, "https": _Pool}
    return api_client


class _Connection(HTTPSConnection):
    """A connection with a TLS context of its own.

    urllib3 sets a context up anew for each connection, which frees what another thread's handshake
    may be reading: with a shared one the process dies of a segmentation fault
    (https://github.com/python/cpython/issues/141012).
    """

    def connect(self) -> None:
        self.ssl_context = create_urllib3_context(cert_reqs=resolve_cert_reqs(self.cert_reqs))
        self.ssl_context.verify_flags &= ~TOO_STRICT
        # The cluster's own certificates, where there are any, are put into it by urllib3.
        if not (self.ca_certs or self.ca_cert_data):
            self.ssl_context.load_default_certs()
        super().connect()


class _Pool(HTTPSConnectionPool):
    ConnectionCls = _Connection


def _is_in_cluster() -> bool:
    return bool(os.environ.get("KUBERNETES_SERVICE_HOST"))
