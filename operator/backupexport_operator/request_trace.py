"""Counts the requests of a client of the Kubernetes API, without a word from who makes them."""

from collections.abc import Callable
from typing import Any

from aiohttp import ClientSession, TraceConfig, TraceRequestEndParams, TraceRequestExceptionParams

# Method, path and status, or None where there was no answer.
CountRequest = Callable[[str, str, int | None], None]


def request_trace(count: CountRequest) -> TraceConfig:
    """For `Configuration.trace_configs`: a stream counts once, when it begins."""

    async def answered(_session: ClientSession, _context: Any, end: TraceRequestEndParams) -> None:
        count(end.method, end.url.path, end.response.status)

    async def failed(
        _session: ClientSession, _context: Any, end: TraceRequestExceptionParams
    ) -> None:
        count(end.method, end.url.path, None)

    trace = TraceConfig()
    trace.on_request_end.append(answered)
    trace.on_request_exception.append(failed)
    return trace
