"""GET /api/jobs, GET /api/jobs/{job_id} and POST /api/jobs/{job_id}/cancel."""

import json
from typing import Annotated

from backupexport_contract.reasons import Phase
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from backupexport_api import problems
from backupexport_api.dependencies import JobId, ReadingCaller, Store, found_job, reading_caller
from backupexport_api.job_query import JobQuery, cursor_after
from backupexport_api.job_view import JobView
from backupexport_api.openapi import job_links, problem_responses
from backupexport_api.records import Job
from backupexport_api.routes.direct_route import called_by
from backupexport_api.routes.envelope import Envelope, json_response

router = APIRouter(prefix="/api/jobs", tags=["jobs"])


class JobList(BaseModel):
    """Jobs, newest first."""

    data: list[JobView]
    next_cursor: str | None


@router.get(
    "",
    operation_id="list_jobs",
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
    return json_response(
        b'{"data":[%b],"next_cursor":%b}'
        % (b",".join(job.json for job in jobs), json.dumps(cursor).encode()),
        status=200,
    )


async def show_job(job_id: JobId, caller: ReadingCaller, store: Store) -> Response:
    """Show how a job is doing. Polling is cheap."""
    return _envelope(await found_job(job_id, caller, store))


async def _call_show_job(request: Request) -> Response:
    caller = await reading_caller(request)
    return await show_job(request.path_params["job_id"], caller, request.app.state.store)


router.add_api_route(
    "/{job_id}",
    show_job,
    route_class_override=called_by(_call_show_job),
    operation_id="show_job",
    summary="Show a job",
    response_description="The job",
    response_model=Envelope[JobView],
    responses=problem_responses(401, 404, 429, 503)
    | job_links(200, "$response.body#/data/job_id", "cancel_job"),
)


@router.post(
    "/{job_id}/cancel",
    status_code=202,
    operation_id="cancel_job",
    summary="Cancel a job",
    response_description="The job will end, or has ended, cancelled",
    response_model=Envelope[JobView],
    responses=problem_responses(401, 404, 409, 429, 503)
    | job_links(202, "$response.body#/data/job_id", "show_job"),
)
async def cancel_job(job_id: JobId, caller: ReadingCaller, store: Store) -> Response:
    """Stop a job and remove its partial file. Repeating it is harmless."""
    job = await found_job(job_id, caller, store)
    if not job.cancel_requested and not job.phase.is_finished:
        cancelled = await store.cancel_job(job)
        if cancelled is None:
            raise problems.job_not_found()
        job = cancelled
    # Looked at after the write: it may have ended in the meantime.
    if job.phase in (Phase.SUCCEEDED, Phase.FAILED):
        raise problems.job_finished()
    return _envelope(job, status=202)


def _envelope(job: Job, status: int = 200) -> Response:
    # What `response_model` says is in it was rendered when the record was made.
    return json_response(b'{"data":%b}' % job.json, status)
