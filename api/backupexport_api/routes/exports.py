"""POST /api/backup/export."""

import uuid
from typing import Annotated

from backupexport_contract import timestamps
from backupexport_contract.resources import BackupExport
from fastapi import APIRouter, Header, Request, Response

from backupexport_api import idempotency, problems
from backupexport_api.dependencies import (
    ExportingCaller,
    Store,
    export_body,
    exporting_caller,
    idempotency_key,
)
from backupexport_api.export_manifest import export_manifest
from backupexport_api.export_request import ExportRequest
from backupexport_api.job_view import AcceptedView, accepted_view
from backupexport_api.openapi import job_links, problem_responses
from backupexport_api.routes.direct_route import called_by
from backupexport_api.routes.envelope import Envelope, json_response

router = APIRouter(prefix="/api/backup", tags=["exports"])

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias=idempotency.HEADER,
        min_length=1,
        max_length=idempotency.LONGEST_KEY,
        pattern=r"^[\x21-\x7e]*$",
        description="Any text of your own: the same request with the same key gets the same job"
        " again instead of a second one.",
    ),
]


async def request_export(
    caller: ExportingCaller, store: Store, body: ExportRequest, key: IdempotencyKey = None
) -> Response:
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
    headers = {"Location": f"/api/jobs/{export.job_id}"}
    if earlier is not None:
        if not idempotency.is_repeated(earlier, body, caller.subject):
            raise problems.idempotency_key_reused()
        headers["Idempotency-Replayed"] = "true"
    view = accepted_view(export).model_dump_json().encode()
    return json_response(b'{"data":%b}' % view, 202, headers)


async def _call_request_export(request: Request) -> Response:
    # In this order: 401, then 429, then 400.
    caller = await exporting_caller(request)
    key = idempotency_key(request)
    body = await export_body(request)
    return await request_export(caller, request.app.state.store, body, key)


router.add_api_route(
    "/export",
    request_export,
    methods=["POST"],
    route_class_override=called_by(_call_request_export),
    operation_id="request_export",
    status_code=202,
    summary="Request an export",
    response_description="Stored: the job will run",
    response_model=Envelope[AcceptedView],
    responses=problem_responses(400, 401, 403, 404, 409, 413, 415, 429, 503)
    | job_links(
        202,
        "$response.body#/data/job_id",
        "show_job",
        "watch_job",
        "cancel_job",
        headers=("Location",),
    ),
)
