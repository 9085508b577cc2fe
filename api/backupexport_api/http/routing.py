"""Routes whose functions get their arguments from us, and how answers are wrapped."""

from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel

T = TypeVar("T")


def called_by(handle: Callable[[Request], Coroutine[Any, Any, Response]]) -> type[APIRoute]:
    """Return the class of a route that answers with `handle`; its function is for OpenAPI alone."""
    # FastAPI's search for a function's arguments costs a request more than all else (bench-api).

    class DirectRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            return handle

    return DirectRoute


class Envelope(BaseModel, Generic[T]):
    """`{"data": …}`."""

    data: T


def data_response(
    data: bytes, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """Return an answer with an Envelope around `data`, which is JSON already."""
    return json_response(b'{"data":%b}' % data, status, headers)


def json_response(content: bytes, status: int, headers: dict[str, str] | None = None) -> Response:
    """Return an answer whose JSON is encoded already."""
    return Response(content, status, headers, "application/json")
