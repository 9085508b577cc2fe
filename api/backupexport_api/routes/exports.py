"""POST /api/backup/export."""

import uuid

from backupexport_contract import timestamps
from fastapi import APIRouter, Response

from backupexport_api import problems
from backupexport_api.dependencies import ExportBody, ExportingCaller, Store
from backupexport_api.export_manifest import export_manifest
from backupexport_api.job_view import AcceptedView, accepted_view
from backupexport_api.openapi import json_request_body, problem_responses
from backupexport_api.routes.envelope import Envelope

router = APIRouter(prefix="/api/backup", tags=["exports"])


@router.post(
    "/export",
    status_code=202,
    summary="Request an export",
    response_description="Stored: the job will run",
    responses=problem_responses(400, 401, 403, 404, 413, 415, 429, 503),
    openapi_extra=json_request_body("ExportRequest"),
)
async def request_export(
    caller: ExportingCaller, body: ExportBody, store: Store, response: Response
) -> Envelope[AcceptedView]:
    """Export a project's database. An accepted request is never lost."""
    if not caller.access.allows(body.project_id):
        raise problems.project_forbidden()
    if not await store.project_exists(body.project_id):
        raise problems.project_not_found()
    job_id = str(uuid.uuid4())
    export = await store.create_job(
        export_manifest(body, job_id=job_id, subject=caller.subject, created=timestamps.now())
    )
    response.headers["Location"] = f"/api/jobs/{export.job_id}"
    return Envelope(data=accepted_view(export))
