"""GET /api/jobs/{job_id}."""

from backupexport_contract.names import is_uuid
from fastapi import APIRouter

from backupexport_api import problems
from backupexport_api.dependencies import ReadingCaller, Store
from backupexport_api.job_view import JobView, job_view
from backupexport_api.openapi import problem_responses
from backupexport_api.routes.envelope import Envelope

router = APIRouter(prefix="/api/jobs", tags=["jobs"])


@router.get(
    "/{job_id}",
    summary="Show a job",
    response_description="The job",
    responses=problem_responses(401, 404, 429, 503),
)
async def show_job(job_id: str, caller: ReadingCaller, store: Store) -> Envelope[JobView]:
    """Show how a job is doing. Polling is cheap."""
    export = await store.find_job(job_id) if is_uuid(job_id) else None
    # One answer for both, so that nobody learns of other projects' jobs.
    if export is None or not caller.access.allows(export.spec.project_id):
        raise problems.job_not_found()
    return Envelope(data=job_view(export))
