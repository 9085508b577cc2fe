"""The connection to the Kubernetes API, besides kopf's own, and what calls end with."""

import aiohttp
from backupexport_contract import names
from kubernetes.aio import client, config
from kubernetes.aio.client.exceptions import ApiException

# The whole request, in seconds; the client hands a (connect, read) pair to aiohttp unread.
REQUEST_TIMEOUT = 15.0
# What a request ends with while the API server is away, refuses, or is slow.
SERVER_AWAY = (ApiException, aiohttp.ClientError, TimeoutError)


def brief(error: Exception) -> str:
    """An error of `SERVER_AWAY` in one line; the client's own text has all headers in it."""
    if isinstance(error, ApiException):
        return f"{error.status} {error.reason}"
    return str(error) or type(error).__name__


async def connect(pool_size: int) -> client.ApiClient:
    """A client for the cluster this runs in, else for the current kubeconfig."""
    configuration = client.Configuration()
    try:
        config.load_incluster_config(client_configuration=configuration)
    except config.ConfigException:
        await config.load_kube_config(client_configuration=configuration)
    configuration.connection_pool_maxsize = pool_size
    # Else aiohttp asks two threads before each request, for .netrc and for a proxy.
    configuration.client_session_kwargs = {"trust_env": False}
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
