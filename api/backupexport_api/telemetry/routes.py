"""The routes /healthz and /readyz for the kubelet, and /metrics for Prometheus."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from backupexport_api.http.openapi import problem_responses
from backupexport_api.http.problems import ProblemError
from backupexport_api.http.routing import Envelope
from backupexport_api.jobs.dependencies import Store
from backupexport_api.telemetry.metrics import CONTENT_TYPE, Metrics

router = APIRouter(tags=["health"])
metrics_router = APIRouter()


class Health(BaseModel):
    """How the process is."""

    status: Literal["ok", "ready"]


@router.get("/healthz", summary="Does the process live?", responses=problem_responses())
async def healthz() -> Envelope[Health]:
    """Answer at all."""
    return Envelope(data=Health(status="ok"))


@router.get("/readyz", summary="Can it serve?", responses=problem_responses(400, 503))
async def readyz(
    request: Request,
    store: Store,
    exclude: Annotated[list[Literal["kubernetes-api"]] | None, Query()] = None,
) -> Envelope[Health]:
    """Answer 200 when the cache is synced, tokens can be checked and the Kubernetes API answers.

    `exclude=kubernetes-api` leaves the last question out: without that API, reading still works.
    """
    missing = await store.unready(with_kubernetes=not exclude)
    missing = [*missing, *request.app.state.authenticator.unready()]
    if missing:
        raise ProblemError(503, "not_ready", f"Not ready: {'; '.join(missing)}.")
    return Envelope(data=Health(status="ready"))


@metrics_router.get("/metrics", include_in_schema=False)
async def metrics(request: Request) -> Response:
    """Return the metrics in Prometheus' text format."""
    measured: Metrics = request.app.state.metrics
    return Response(await measured.shared_exposition.get(), media_type=CONTENT_TYPE)
