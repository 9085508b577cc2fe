"""The shape of every success."""

from typing import Generic, TypeVar

from fastapi import Response
from pydantic import BaseModel

T = TypeVar("T")


class Envelope(BaseModel, Generic[T]):
    """`{"data": …}`."""

    data: T


def json_response(content: bytes, status: int, headers: dict[str, str] | None = None) -> Response:
    """Send JSON that is there already."""
    return Response(content, status_code=status, headers=headers, media_type="application/json")
