"""The routes that request, list, show and cancel exports."""

import json
import uuid
from typing import Annotated

from backupexport_contract import timestamps
from backupexport_contract.reasons import Phase
from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import BaseModel

from backupexport_api.audit import trail
from backupexport_api.http.body import read_json
from backupexport_api.http.openapi import job_links, problem_responses
from backupexport_api.http.routing import Envelope, called_by, data_response, json_response
from backupexport_api.jobs import idempotency, problems
from backupexport_api.jobs.dependencies import JobId, Store, found_job
from backupexport_api.jobs.query import JobQuery, cursor_after
from backupexport_api.jobs.request import ExportRequest, export_manifest
from backupexport_api.jobs.store import StoredExport
from backupexport_api.jobs.view import AcceptedView, JobView, accepted_view
from backupexport_api.limits import callers
from backupexport_api.limits.callers import ExportingCaller, ReadingCaller

router = APIRouter()
_EXPORTS, _JOBS = "/api/backup", "/api/jobs"
# Where answers have it: a runtime expression of OpenAPI.
_JOB_ID = "$response.body#/data/job_id"


class JobList(BaseModel):
    """Jobs, newest first."""

    data: list[JobView]
    next_cursor: str | None


@router.get(
    _JOBS,
    tags=["jobs"],
    summary="List jobs",
    response_description="The jobs, newest first",
    response_model=JobList,
    responses=problem_responses(400, 401, 429, 503)
    | job_links(200, "$response.body#/data/0/job_id", "show_job", "cancel_job"),
)
async def list_jobs(
    caller: ReadingCaller, store: Store, query: Annotated[JobQuery, Query()]
) -> Response:
    """List the jobs that the token may see. A `next_cursor` that is not null leads to more."""
    jobs, has_more = await store.list_jobs(query, caller.access)
    cursor = cursor_after(jobs[-1].position) if has_more else None
    listed = b",".join(job.json for job in jobs)
    body = b'{"data":[%b],"next_cursor":%b}' % (listed, json.dumps(cursor).encode())
    return json_response(body, status=200)


async def show_job(job_id: JobId, caller: ReadingCaller, store: Store) -> Response:
    """Show how a job is doing. Polling is cheap."""
    job = await found_job(job_id, caller, store)
    return data_response(job.json)


async def _call_show_job(request: Request) -> Response:
    caller = await callers.reading_caller(request)
    return await show_job(request.path_params["job_id"], caller, request.app.state.store)


router.add_api_route(
    _JOBS + "/{job_id}",
    show_job,
    tags=["jobs"],
    route_class_override=called_by(_call_show_job),
    summary="Show a job",
    response_description="The job",
    response_model=Envelope[JobView],
    responses=problem_responses(401, 404, 429, 503) | job_links(200, _JOB_ID, "cancel_job"),
)


@router.post(
    _JOBS + "/{job_id}/cancel",
    tags=["jobs"],
    status_code=202,
    summary="Cancel a job",
    response_description="The job will end, or has ended, cancelled",
    response_model=Envelope[JobView],
    responses=problem_responses(401, 404, 409, 429, 503) | job_links(202, _JOB_ID, "show_job"),
)
async def cancel_job(
    job_id: JobId, request: Request, caller: ReadingCaller, store: Store
) -> Response:
    """Stop a job and remove its partial file. Repeating it is harmless."""
    job = await found_job(job_id, caller, store)
    trail.about(request, project=job.project_id, job=job.job_id)
    outcome = "repeated"
    if not job.cancel_requested and not job.phase.is_finished:
        with trail.unanswered_noted(request, "cancel"):
            cancelled = await store.cancel_job(job)
        if cancelled is None:
            raise problems.job_not_found()
        job, outcome = cancelled, "accepted"
    # Checked after the write: it may have ended meanwhile.
    if job.phase in (Phase.SUCCEEDED, Phase.FAILED):
        trail.note(request, "cancel", "too_late")
        raise problems.job_finished()
    trail.note(request, "cancel", outcome)
    return data_response(job.json, 202)


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
    request: Request,
    caller: ExportingCaller,
    store: Store,
    body: ExportRequest,
    key: IdempotencyKey = None,
) -> Response:
    """Export a project's database. An accepted request is never lost."""
    trail.about(request, project=body.project_id)
    if not caller.access.allows(body.project_id):
        raise problems.project_forbidden()
    job_id = idempotency.job_id_of(caller.subject, key) if key else str(uuid.uuid4())
    refusal = None
    if not await store.project_exists(body.project_id):
        refusal = problems.project_not_found()
    elif not body.encrypt_to and store.wants_recipient(body.project_id):
        refusal = problems.recipient_required()
    if refusal is None:
        trail.about(request, job=job_id)
        created = timestamps.now()
        manifest = export_manifest(body, job_id=job_id, subject=caller.subject, created=created)
        with trail.unanswered_noted(request, "create"):
            stored = await store.create_job(manifest)
    else:
        # A repeated request gets its job whatever has become of the project since.
        earlier = await store.find_export(job_id) if key else None
        if earlier is None:
            raise refusal
        stored = StoredExport(earlier, is_new=False)
    headers = {"Location": f"/api/jobs/{stored.export.job_id}"}
    if not stored.is_new:
        if not idempotency.is_repeated(stored.export, body, caller.subject):
            raise problems.idempotency_key_reused()
        headers["Idempotency-Replayed"] = "true"
    trail.about(request, job=stored.export.job_id)
    trail.note(request, "create", "accepted" if stored.is_new else "replayed")
    return data_response(accepted_view(stored.export).model_dump_json().encode(), 202, headers)


async def _call_request_export(request: Request) -> Response:
    # In this order: 401, then 429, then 400.
    caller = await callers.exporting_caller(request)
    key = idempotency.key_of(request.headers.getlist(idempotency.HEADER))
    body = await read_json(request, ExportRequest)
    return await request_export(request, caller, request.app.state.store, body, key)


router.add_api_route(
    _EXPORTS + "/export",
    request_export,
    tags=["exports"],
    methods=["POST"],
    route_class_override=called_by(_call_request_export),
    status_code=202,
    summary="Request an export",
    response_description="Stored: the job will run",
    response_model=Envelope[AcceptedView],
    responses=problem_responses(400, 401, 403, 404, 409, 413, 415, 429, 503)
    | job_links(202, _JOB_ID, "show_job", "watch_job", "cancel_job", headers=("Location",)),
)
