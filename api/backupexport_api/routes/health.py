"""GET /healthz and GET /readyz, for the kubelet."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel

from backupexport_api import problems
from backupexport_api.dependencies import Store
from backupexport_api.openapi import problem_responses
from backupexport_api.routes.envelope import Envelope

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """How the process is."""

    status: Literal["ok", "ready"]


@router.get("/healthz", summary="Does the process live?", responses=problem_responses())
async def healthz() -> Envelope[Health]:
    """Answer at all."""
    return Envelope(data=Health(status="ok"))


@router.get("/readyz", summary="Can it serve?", responses=problem_responses(400, 503))
async def readyz(
    store: Store, exclude: Annotated[list[Literal["kubernetes-api"]] | None, Query()] = None
) -> Envelope[Health]:
    """Answer 200 when the cache is synced and the Kubernetes API answers; else say what is not.

    `exclude=kubernetes-api` leaves the second question out: without that API, reading still works.
    """
    missing = await store.unready(with_kubernetes=not exclude)
    if missing:
        raise problems.unavailable(f"Not ready: {'; '.join(missing)}.", code="not_ready")
    return Envelope(data=Health(status="ready"))
