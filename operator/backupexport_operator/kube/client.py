"""Our client of the Kubernetes API (kopf has its own), and what its requests end with."""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from backupexport_contract import names
from kubernetes.aio import client, config
from kubernetes.aio.client.exceptions import ApiException

from backupexport_operator.kube.request_count import CountRequest, request_trace

# For the whole request, in seconds: of a (connect, read) pair the client would make no use.
REQUEST_TIMEOUT = 15.0
_PAGE = 500
_LONGEST_SAYING = 300


class NotLeadingError(Exception):
    """A write must not begin, because another replica may lead by now."""


# What a request raises while the API server is away, refuses it or is slow, or we may not write.
SERVER_AWAY = (ApiException, aiohttp.ClientError, TimeoutError, NotLeadingError)


def brief(error: Exception) -> str:
    """Returns an error of `SERVER_AWAY` in one line; its own text has all headers in it."""
    if isinstance(error, ApiException):
        return f"{error.status} {error.reason}{_said(error)}"
    return str(error) or type(error).__name__


class _GuardedClient(client.ApiClient):  # type: ignore[misc] # a generated, untyped class
    """Gives each write the time that `seconds_to_write` returns for it."""

    def __init__(
        self, configuration: client.Configuration, seconds_to_write: Callable[[], float]
    ) -> None:
        super().__init__(configuration)
        self._seconds_to_write = seconds_to_write

    async def call_api(self, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        if method != "GET":
            # A write that came through later could meet those of the next leader.
            seconds = kwargs.get("_request_timeout") or REQUEST_TIMEOUT
            kwargs["_request_timeout"] = min(seconds, self._seconds_to_write())
        return await super().call_api(method, url, *args, **kwargs)


async def connect(
    pool_size: int,
    seconds_to_write: Callable[[], float] = lambda: REQUEST_TIMEOUT,
    count: CountRequest = lambda *_: None,
) -> client.ApiClient:
    """Returns a client for the cluster that this runs in, else for the current kubeconfig.

    `seconds_to_write` is called before each write, and raises NotLeadingError if none may begin.
    """
    configuration = client.Configuration()
    try:
        config.load_incluster_config(client_configuration=configuration)
    except config.ConfigException:
        await config.load_kube_config(client_configuration=configuration)
    configuration.connection_pool_maxsize = pool_size
    # Python 3.13 refuses certificates that kubectl trusts, those of older clusters above all.
    configuration.disable_strict_ssl_verification = True
    # Otherwise aiohttp looks for .netrc and a proxy before each request, each in a thread.
    configuration.client_session_kwargs = {"trust_env": False}
    configuration.trace_configs = [request_trace(count)]
    return _GuardedClient(configuration, seconds_to_write)


def _said(error: ApiException) -> str:
    """Returns what the API server says, such as which quota is used up."""
    try:
        message = str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return ""
    return f": {' '.join(message.split())[:_LONGEST_SAYING]}"


@asynccontextmanager
async def opened(
    api_client: client.ApiClient, path: str, query: Mapping[str, str], seconds: float
) -> AsyncIterator[aiohttp.ClientResponse]:
    """The answer to a GET of the core API, its body still to be read.

    Raises ApiException if its status isn't 200.  CoreV1Api isn't used, because its import takes a
    quarter of this process's memory.
    """
    request = await api_client.param_serialize(
        "GET",
        f"/api/v1/{path}",
        query_params=list(query.items()),
        header_params={"Accept": "application/json"},
        auth_settings=["BearerToken"],
    )
    answer = await api_client.call_api(*request, _request_timeout=seconds, _preload_content=False)
    response: aiohttp.ClientResponse = answer.response
    try:
        if response.status != 200:
            raise ApiException(status=response.status, reason=response.reason)
        yield response
    finally:
        response.close()


async def list_pages(
    api: client.CustomObjectsApi, *where: str, **options: Any
) -> AsyncIterator[dict[str, Any]]:
    """Yields a list in pages of 500, so that a long one takes little memory at a time."""
    following = ""
    while True:
        page: dict[str, Any] = await api.list_namespaced_custom_object(
            *where, limit=_PAGE, _continue=following, _request_timeout=REQUEST_TIMEOUT, **options
        )
        yield page
        following = page["metadata"].get("continue", "")
        if not following:
            return


async def read_or_none(api: client.CustomObjectsApi, *where: str) -> dict[str, Any] | None:
    """Returns the object as JSON; None if there is none."""
    try:
        found: dict[str, Any] = await api.get_namespaced_custom_object(
            *where, _request_timeout=REQUEST_TIMEOUT
        )
    except ApiException as error:
        if error.status == 404:
            return None
        raise
    return found


async def kinds_are_served(api_client: client.ApiClient, namespace: str, selector: str) -> bool:
    """Returns whether the API server knows both our kinds, and this field selector of exports."""
    api = client.CustomObjectsApi(api_client)
    try:
        served = await api.get_api_resources(
            names.GROUP, names.VERSION, _request_timeout=REQUEST_TIMEOUT
        )
        # An older version of the CRD has no such field, and the selector is refused.
        await api.list_namespaced_custom_object(
            names.GROUP,
            names.VERSION,
            namespace,
            names.EXPORT_PLURAL,
            field_selector=selector,
            limit=1,
            _request_timeout=REQUEST_TIMEOUT,
        )
    except ApiException as error:
        if error.status in (400, 404):
            return False
        raise
    return {names.EXPORT_PLURAL, names.TARGET_PLURAL} <= {kind.name for kind in served.resources}
