"""Routes whose functions get their arguments from us, and how answers are wrapped."""

from collections.abc import Callable, Coroutine, Iterable
from copy import copy
from typing import Any, Generic, TypeVar

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.routing import BaseRoute

T = TypeVar("T")


def called_by(handle: Callable[[Request], Coroutine[Any, Any, Response]]) -> type[APIRoute]:
    """Return the class of a route that answers with `handle`; its function is for OpenAPI alone."""
    # FastAPI's search for a function's arguments costs a request more than all else (bench-api).

    class DirectRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            return handle

    return DirectRoute


def answer_head(routes: Iterable[BaseRoute]) -> None:
    """Make routes that answer GET answer HEAD (RFC 9110, 9.3.2), as Starlette's own do.

    They answer it in the same way: uvicorn sends no body then.
    """
    for route in routes:
        if isinstance(route, APIRoute) and route.methods and "GET" in route.methods:
            route.methods = route.methods | {"HEAD"}


def without_head(routes: Iterable[BaseRoute]) -> list[BaseRoute]:
    """Return the routes as they are without `answer_head`."""
    shown = [copy(route) for route in routes]
    for route in shown:
        if isinstance(route, APIRoute) and route.methods:
            route.methods = route.methods - {"HEAD"}
    return shown


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
