"""What routes ask of a request: who calls, within which limit, and what is asked."""

from typing import Annotated

from backupexport_contract.names import is_uuid
from fastapi import Depends, Path, Request

from backupexport_api.auth.authentication import Caller
from backupexport_api.http.body import read_json
from backupexport_api.http.problems import FieldError, invalid_request
from backupexport_api.jobs import idempotency
from backupexport_api.jobs.cached_job import CachedJob
from backupexport_api.jobs.problems import job_not_found
from backupexport_api.jobs.request import ExportRequest
from backupexport_api.jobs.store import JobStore


async def _store(request: Request) -> JobStore:
    store: JobStore = request.app.state.store
    return store


Store = Annotated[JobStore, Depends(_store)]

# Said, not enforced: whatever is no UUID is simply not found.
JobId = Annotated[str, Path(json_schema_extra={"format": "uuid"})]


async def found_job(job_id: str, caller: Caller, store: JobStore) -> CachedJob:
    """Find a job that the caller may see; ProblemError (404)."""
    job = await store.find_job(job_id, caller.access) if is_uuid(job_id) else None
    if job is None:
        # One answer for both, so that nobody learns of other projects' jobs.
        raise job_not_found()
    return job


# FastAPI would parse a declared body before it is known who calls: 400 before 401.
async def export_body(request: Request) -> ExportRequest:
    """Read the body of a request for an export; ProblemError (415, 413, 400)."""
    return await read_json(request, ExportRequest)


def idempotency_key(request: Request) -> str | None:
    """Read the header; ProblemError (400)."""
    try:
        return idempotency.key_of(request.headers.getlist(idempotency.HEADER))
    except idempotency.BadKeyError as error:
        raise invalid_request(
            [FieldError(field=idempotency.HEADER, message=str(error), code="bad_key")]
        ) from None
