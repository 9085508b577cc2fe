"""GET /healthz and GET /readyz, for the kubelet."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from backupexport_api import problems
from backupexport_api.dependencies import Store
from backupexport_api.openapi import problem_responses
from backupexport_api.routes.envelope import Envelope

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """How the process is."""

    status: Literal["ok", "ready"]


@router.get(
    "/healthz",
    operation_id="healthz",
    summary="Does the process live?",
    responses=problem_responses(),
)
async def healthz() -> Envelope[Health]:
    """Answer at all."""
    return Envelope(data=Health(status="ok"))


@router.get(
    "/readyz", operation_id="readyz", summary="Can it serve?", responses=problem_responses(400, 503)
)
async def readyz(
    request: Request,
    store: Store,
    exclude: Annotated[list[Literal["kubernetes-api"]] | None, Query()] = None,
) -> Envelope[Health]:
    """Answer 200 when the cache is synced, tokens can be checked and the Kubernetes API answers.

    `exclude=kubernetes-api` leaves the last question out: without that API, reading still works.
    """
    missing = [
        *await store.unready(with_kubernetes=not exclude),
        *request.app.state.authenticator.unready(),
    ]
    if missing:
        raise problems.unavailable(f"Not ready: {'; '.join(missing)}.", code="not_ready")
    return Envelope(data=Health(status="ready"))
