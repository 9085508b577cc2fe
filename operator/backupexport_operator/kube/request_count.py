"""Counts the requests of a client of the Kubernetes API, wherever they are made."""

from collections.abc import Callable
from typing import Any

from aiohttp import ClientSession, TraceConfig, TraceRequestEndParams, TraceRequestExceptionParams

# Gets verb, resource and status, which is None if there was no answer.
CountRequest = Callable[[str, str, int | None], None]


def request_trace(count: CountRequest) -> TraceConfig:
    """Returns a trace for `Configuration.trace_configs`; a stream counts once, as it begins."""

    async def answered(_session: ClientSession, _context: Any, end: TraceRequestEndParams) -> None:
        count(*call_of(end.method, end.url.path), end.response.status)

    async def failed(
        _session: ClientSession, _context: Any, end: TraceRequestExceptionParams
    ) -> None:
        count(*call_of(end.method, end.url.path), None)

    trace = TraceConfig()
    trace.on_request_end.append(answered)
    trace.on_request_exception.append(failed)
    return trace


# https://kubernetes.io/docs/reference/access-authn-authz/authorization/#determine-the-request-verb
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_RESOURCES = frozenset(
    {
        "backupexports",
        "backupexports/status",
        "events",
        "exporttargets",
        "exporttargets/status",
        "jobs",
        "leases",
        "pods",
        "pods/log",
    }
)
_OTHER = "(other)"


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
