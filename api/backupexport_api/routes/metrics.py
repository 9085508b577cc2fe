"""GET /metrics, for Prometheus."""

from fastapi import APIRouter, Request, Response

from backupexport_api.metrics import CONTENT_TYPE, Metrics

# No part of what clients are told about: it is plain text, and an Ingress doesn't lead here.
router = APIRouter(include_in_schema=False)


# Not async: it reads all of /proc/self, and a scrape must not hold requests up.
@router.get("/metrics")
def metrics(request: Request) -> Response:
    """Tell Prometheus."""
    told: Metrics = request.app.state.metrics
    return Response(told.exposition(), media_type=CONTENT_TYPE)
