"""What routes ask of a request: the store, and the job of an id."""

from typing import Annotated

from backupexport_contract.names import is_uuid
from fastapi import Depends, Path, Request

from backupexport_api.auth.authentication import Caller
from backupexport_api.jobs.cached_job import CachedJob
from backupexport_api.jobs.problems import job_not_found
from backupexport_api.jobs.store import JobStore


async def _store(request: Request) -> JobStore:
    store: JobStore = request.app.state.store
    return store


Store = Annotated[JobStore, Depends(_store)]

# For the document alone: what is no UUID is not found.
JobId = Annotated[str, Path(json_schema_extra={"format": "uuid"})]


async def found_job(job_id: str, caller: Caller, store: JobStore) -> CachedJob:
    """Find a job that the caller may see; raises ProblemError (404)."""
    job = await store.find_job(job_id, caller.access) if is_uuid(job_id) else None
    if job is None:
        # One answer for both, so that nobody learns of other projects' jobs.
        raise job_not_found()
    return job
