"""What routes ask of a request: who calls, within which limit, and what is asked."""

from typing import Annotated, TypeVar

from anyio import to_thread
from backupexport_contract.names import is_uuid
from fastapi import Depends, Path, Request
from pydantic import BaseModel, ValidationError

from backupexport_api import idempotency, problems
from backupexport_api.authentication import Caller
from backupexport_api.bearer_token import BearerToken
from backupexport_api.body_limit import limited_body
from backupexport_api.download_links import is_link
from backupexport_api.export_request import ExportRequest
from backupexport_api.field_errors import field_errors
from backupexport_api.job_store import JobStore
from backupexport_api.json_body import MalformedJsonError, strict_json
from backupexport_api.link_request import LinkRequest
from backupexport_api.problems import FieldError
from backupexport_api.rate_limit import RateLimits
from backupexport_api.records import Job

Body = TypeVar("Body", bound=BaseModel)


async def _store(request: Request) -> JobStore:
    store: JobStore = request.app.state.store
    return store


Store = Annotated[JobStore, Depends(_store)]


class _Reading(BearerToken):
    """Counts after authenticating: one dependency where two would cost each poll more."""

    async def __call__(self, request: Request) -> Caller:
        caller = await super().__call__(request)
        request.app.state.rate_limits.check_read(request)
        return caller


class _Exporting(BearerToken):
    async def __call__(self, request: Request) -> Caller:
        caller = await super().__call__(request)
        limits: RateLimits = request.app.state.rate_limits
        if limits.counting_exports_blocks:
            await to_thread.run_sync(limits.check_export, request)
        else:
            limits.check_export(request)
        return caller


reading_caller = _Reading()
exporting_caller = _Exporting()
ReadingCaller = Annotated[Caller, Depends(reading_caller)]
ExportingCaller = Annotated[Caller, Depends(exporting_caller)]


async def fetching_caller(request: Request) -> Caller | None:
    """Tell who is calling, as for reading; None where the request comes by a link instead."""
    if is_link(request.query_params.multi_items()):
        return None
    return await reading_caller(request)


FetchingCaller = Annotated[Caller | None, Depends(fetching_caller)]

# Said, not enforced: whatever is no UUID is simply not found.
JobId = Annotated[str, Path(json_schema_extra={"format": "uuid"})]


async def found_job(job_id: str, caller: Caller, store: JobStore) -> Job:
    """Find a job that the caller may see; ProblemError (404)."""
    job = await store.find_job(job_id, caller.access) if is_uuid(job_id) else None
    if job is None:
        # One answer for both, so that nobody learns of other projects' jobs.
        raise problems.job_not_found()
    return job


# FastAPI would parse a declared body before it is known who calls: 400 before 401.
async def export_body(request: Request) -> ExportRequest:
    """Read the body of a request for an export; ProblemError (415, 413, 400)."""
    _require_json(request)
    return _parsed(await limited_body(request), ExportRequest)


async def link_body(request: Request) -> LinkRequest:
    """Read the body of a request for a link, which may be missing; ProblemError as above."""
    body = await limited_body(request)
    if not body:
        return LinkRequest()
    _require_json(request)
    return _parsed(body, LinkRequest)


def _require_json(request: Request) -> None:
    if not _is_json(request.headers.get("Content-Type", "")):
        raise problems.ProblemError(
            415, "not_json", "Send the body as JSON: Content-Type: application/json."
        )


def _parsed(body: bytes, model: type[Body]) -> Body:
    try:
        return model.model_validate(strict_json(body))
    except MalformedJsonError as error:
        raise problems.malformed_body(str(error)) from None
    except ValidationError as error:
        raise problems.invalid_request(
            field_errors(error.errors(include_url=False, include_input=False))
        ) from None


def idempotency_key(request: Request) -> str | None:
    """Read the header; ProblemError (400)."""
    try:
        return idempotency.key_of(request.headers.getlist(idempotency.HEADER))
    except idempotency.BadKeyError as error:
        raise problems.invalid_request(
            [FieldError(field=idempotency.HEADER, message=str(error), code="bad_key")]
        ) from None


def _is_json(content_type: str) -> bool:
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type == "application/json" or (
        media_type.startswith("application/") and media_type.endswith("+json")
    )
