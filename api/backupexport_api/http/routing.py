"""Routes that are called without FastAPI's search for a function's arguments.

That search costs a request more than all that we do ourselves (`make bench-api`).
"""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, TypeVar

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel


def called_by(handle: Callable[[Request], Awaitable[Response]]) -> type[APIRoute]:
    """Make the class of a route whose function is called by `handle`.

    The function's signature is still what makes the documentation.
    """

    class DirectRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            async def called(request: Request) -> Response:
                return await handle(request)

            return called

    return DirectRoute


T = TypeVar("T")


class Envelope(BaseModel, Generic[T]):
    """`{"data": …}`."""

    data: T


def json_response(content: bytes, status: int, headers: dict[str, str] | None = None) -> Response:
    """Send JSON that is there already."""
    return Response(content, status_code=status, headers=headers, media_type="application/json")
