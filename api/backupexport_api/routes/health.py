"""GET /healthz and GET /readyz, for the kubelet."""

from typing import Literal

from fastapi import APIRouter
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


@router.get("/readyz", summary="Can it serve?", responses=problem_responses(503))
async def readyz(store: Store) -> Envelope[Health]:
    """Answer 200 when the cache is synced and the Kubernetes API answers; else say what is not."""
    missing = await store.unready()
    if missing:
        raise problems.unavailable(f"Not ready: {'; '.join(missing)}.", code="not_ready")
    return Envelope(data=Health(status="ready"))
