"""POST /api/backup/export."""

import uuid

from backupexport_contract import timestamps
from backupexport_contract.resources import BackupExport
from fastapi import APIRouter, Response

from backupexport_api import idempotency, problems
from backupexport_api.dependencies import ExportBody, ExportingCaller, IdempotencyKey, Store
from backupexport_api.export_manifest import export_manifest
from backupexport_api.job_view import AcceptedView, accepted_view
from backupexport_api.openapi import job_links, json_request_body, problem_responses
from backupexport_api.routes.envelope import Envelope

router = APIRouter(prefix="/api/backup", tags=["exports"])


@router.post(
    "/export",
    status_code=202,
    operation_id="request_export",
    summary="Request an export",
    response_description="Stored: the job will run",
    responses=problem_responses(400, 401, 403, 404, 409, 413, 415, 429, 503)
    | job_links(
        202, "$response.body#/data/job_id", "show_job", "cancel_job", headers=("Location",)
    ),
    openapi_extra=json_request_body("ExportRequest"),
)
async def request_export(
    caller: ExportingCaller,
    body: ExportBody,
    key: IdempotencyKey,
    store: Store,
    response: Response,
) -> Envelope[AcceptedView]:
    """Export a project's database. An accepted request is never lost."""
    if not caller.access.allows(body.project_id):
        raise problems.project_forbidden()
    job_id = idempotency.job_id_of(caller.subject, key) if key else str(uuid.uuid4())
    earlier: BackupExport | None = None
    if await store.project_exists(body.project_id):
        stored = await store.create_job(
            export_manifest(body, job_id=job_id, subject=caller.subject, created=timestamps.now())
        )
        export = stored.export
        earlier = None if stored.is_new else stored.export
    else:
        # A repeated request gets its job even when the project has gone since.
        earlier = await store.find_export(job_id) if key else None
        if earlier is None:
            raise problems.project_not_found()
        export = earlier
    if earlier is not None:
        if not idempotency.is_repeated(earlier, body, caller.subject):
            raise problems.idempotency_key_reused()
        response.headers["Idempotency-Replayed"] = "true"
    response.headers["Location"] = f"/api/jobs/{export.job_id}"
    return Envelope(data=accepted_view(export))
