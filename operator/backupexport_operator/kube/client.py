"""The connection to the Kubernetes API, besides kopf's own, and what calls end with."""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from backupexport_contract import names
from backupexport_runtime import cluster
from kubernetes.aio import client
from kubernetes.aio.client.exceptions import ApiException

# The whole request, in seconds; the client hands a (connect, read) pair to aiohttp unread.
REQUEST_TIMEOUT = 15.0
# An API server that asks for more time than this is asked again all the same, in seconds.
LONGEST_RETRY_AFTER = 60.0
PAGE = 500
_LONGEST_SAYING = 500

# Gets verb, resource and status, which is None if there was no answer.
CountRequest = Callable[[str, str, int | None], None]

# https://kubernetes.io/docs/reference/access-authn-authz/authorization/#determine-the-request-verb
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_RESOURCES = frozenset(
    {
        "backupexports", "backupexports/status", "events", "exporttargets", "exporttargets/status",
        "jobs", "leases", "pods", "pods/log",
    }
)  # fmt: skip
_OTHER = "(other)"


class NotNowError(Exception):
    """A write that did not happen, by no fault of ours."""


class NotLeadingError(NotNowError):
    """A write that must not begin: another replica may lead by now."""


# What a request ends with while the API server is away, refuses, or is slow, or we may not write.
SERVER_AWAY = (ApiException, aiohttp.ClientError, TimeoutError, NotNowError)


def brief(error: BaseException) -> str:
    """An error of `SERVER_AWAY` in one line; the client's own text has all headers in it."""
    if isinstance(error, ApiException):
        return f"{error.status} {error.reason}{_said(error)}"
    return str(error) or type(error).__name__


def is_unanswered(error: Exception) -> bool:
    """Whether a write that ended so may have been carried out all the same, or may still be."""
    if isinstance(error, ApiException):
        return error.status == 408 or not 400 <= (error.status or 0) < 500
    return not isinstance(error, NotNowError)


def retry_after(error: BaseException | None) -> float:
    """Returns the seconds for which the API server asks to be left alone; 0 if it says nothing."""
    headers = error.headers if isinstance(error, ApiException) else None
    try:
        seconds = float((headers or {}).get("Retry-After", 0))
    except ValueError:
        # A date, which Kubernetes doesn't send.
        return 0.0
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER)


class _GuardedClient(client.ApiClient):  # type: ignore[misc] # a generated, untyped class
    """Ends every request in time, and asks before each write for how long it may take."""

    def __init__(
        self, configuration: client.Configuration, seconds_to_write: Callable[[], float]
    ) -> None:
        super().__init__(configuration)
        self._seconds_to_write = seconds_to_write

    async def call_api(self, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        seconds = kwargs.pop("_request_timeout", None) or REQUEST_TIMEOUT
        if method != "GET":
            # A request that came through after its time could meet another replica's.
            seconds = min(seconds, self._seconds_to_write())
        return await super().call_api(method, url, *args, _request_timeout=seconds, **kwargs)


async def connect(
    pool_size: int,
    seconds_to_write: Callable[[], float] = lambda: REQUEST_TIMEOUT,
    count: CountRequest = lambda *_: None,
) -> client.ApiClient:
    """Return a client of the cluster that `cluster` finds, for `pool_size` calls at once.

    `seconds_to_write` is asked before each write; it raises NotLeadingError where none may begin.
    """
    configuration = await cluster.async_configuration(pool_size)
    configuration.trace_configs = [request_trace(count)]
    return _GuardedClient(configuration, seconds_to_write)


def request_trace(count: CountRequest) -> aiohttp.TraceConfig:
    """Returns a trace for `Configuration.trace_configs`; a stream counts once, as it begins."""

    async def ended(_session: aiohttp.ClientSession, _context: Any, request: Any) -> None:
        status = getattr(getattr(request, "response", None), "status", None)
        count(*call_of(request.method, request.url.path), status)

    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(ended)
    trace.on_request_exception.append(ended)
    return trace


def call_of(method: str, path: str) -> tuple[str, str]:
    """Returns the request's verb and resource, both from a short list."""
    parts = path.strip("/").split("/")
    # /api/VERSION/… and /apis/GROUP/VERSION/…, then perhaps namespaces/NAMESPACE.
    below = parts[3:] if parts[0] == "apis" else parts[2:]
    if below[:1] == ["namespaces"]:
        below = below[2:]
    kind, name, subresource = [*below, "", "", ""][:3]
    resource = f"{kind}/{subresource}" if subresource else kind
    reading = ("get" if name else "list") if method in ("GET", "HEAD") else _OTHER
    return _VERBS.get(method, reading), resource if resource in _RESOURCES else _OTHER


def _said(error: ApiException) -> str:
    """What the API server says, such as which quota is used up."""
    try:
        message = str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return ""
    return f": {' '.join(message.split())[:_LONGEST_SAYING]}"


@asynccontextmanager
async def opened(
    api_client: client.ApiClient,
    path: str,
    query: Mapping[str, str],
    seconds: float = REQUEST_TIMEOUT,
) -> AsyncIterator[aiohttp.ClientResponse]:
    """The answer to a GET of the core API, still to be read; ApiException where it is no 200.

    Not by CoreV1Api, whose import costs a quarter of this process's memory.
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
            refusal = ApiException(status=response.status, reason=response.reason)
            refusal.headers = response.headers
            raise refusal
        yield response
    finally:
        response.close()


async def delete_core(api_client: client.ApiClient, path: str) -> None:
    """Delete an object of the core API, not by CoreV1Api either; ApiException where it refuses."""
    headers = {"Accept": "application/json"}
    request = await api_client.param_serialize(
        "DELETE", f"/api/v1/{path}", header_params=headers, auth_settings=["BearerToken"]
    )
    answer = await api_client.call_api(*request)
    await answer.read()
    api_client.response_deserialize(answer, {"2XX": "object"})


async def list_pages(
    api: client.CustomObjectsApi, *where: str, **options: Any
) -> AsyncIterator[dict[str, Any]]:
    """A list in pages, so that one of any length takes little memory at a time."""
    following = ""
    while True:
        page: dict[str, Any] = await api.list_namespaced_custom_object(
            *where, limit=PAGE, _continue=following, **options
        )
        yield page
        following = page["metadata"].get("continue", "")
        if not following:
            return


async def read_or_none(api: client.CustomObjectsApi, *where: str) -> dict[str, Any] | None:
    """One object, or None where there is none."""
    try:
        found: dict[str, Any] = await api.get_namespaced_custom_object(*where)
    except ApiException as error:
        if error.status == 404:
            return None
        raise
    return found


async def kinds_are_served(api_client: client.ApiClient, namespace: str, selector: str) -> bool:
    """Whether the API server knows both of our kinds, and this selector of exports, by now."""
    api = client.CustomObjectsApi(api_client)
    try:
        served = await api.get_api_resources(names.GROUP, names.VERSION)
        # It refuses a selector by a field that only a later version of the CRD has.
        where = (names.GROUP, names.VERSION, namespace, names.EXPORT_PLURAL)
        await api.list_namespaced_custom_object(*where, field_selector=selector, limit=1)
    except ApiException as error:
        if error.status in (400, 404):
            return False
        raise
    return {names.EXPORT_PLURAL, names.TARGET_PLURAL} <= {kind.name for kind in served.resources}
