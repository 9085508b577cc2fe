"""The routes of downloads and links, and what the OpenAPI document says of them."""

import re
from typing import Annotated, Any

from backupexport_contract.names import MEDIA_TYPES
from fastapi import APIRouter, Depends, Path, Request, Response

from backupexport_api.audit import trail
from backupexport_api.auth.authentication import Caller
from backupexport_api.downloads import problems
from backupexport_api.downloads.links import LinkRequest, LinkView, is_link
from backupexport_api.downloads.service import Downloads
from backupexport_api.http import security_headers
from backupexport_api.http.body import read_json
from backupexport_api.http.openapi import header, problem_responses
from backupexport_api.http.request_context import add_response_headers
from backupexport_api.http.routing import Envelope, called_by, data_response
from backupexport_api.jobs.cached_job import CachedJob
from backupexport_api.jobs.dependencies import JobId, Store, found_job
from backupexport_api.jobs.link_state import LINK_ID
from backupexport_api.jobs.problems import job_not_found
from backupexport_api.jobs.store import JobStore
from backupexport_api.limits.callers import ReadingCaller, reading_caller
from backupexport_api.limits.slots import SlotOwner


async def fetching_caller(request: Request) -> Caller | None:
    """Return who is calling, counted as a read; None where the request comes by a link."""
    if is_link(request.query_params.multi_items()):
        return None
    return await reading_caller(request)


FetchingCaller = Annotated[Caller | None, Depends(fetching_caller)]


_BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
_FILE = dict.fromkeys(MEDIA_TYPES, _BINARY)


_LASTING = {
    "ETag": header("A strong one, made from the file's SHA-256."),
    "Last-Modified": header("When the export was completed."),
    "Accept-Ranges": header("bytes"),
}
_DESCRIBED = _LASTING | {
    "Content-Disposition": header("The file's name."),
    "Repr-Digest": header("RFC 9530: SHA-256 of the whole file, in base64."),
}
_CONTENT_RANGE = {
    "Content-Range": header("Which bytes these are; with several ranges it stands in each part.")
    | {"required": False}
}

DOWNLOAD_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"content": _FILE, "headers": _DESCRIBED},
    206: {
        "description": "The bytes that Range asks for",
        "content": _FILE | {"multipart/byteranges": _BINARY},
        "headers": _DESCRIBED | _CONTENT_RANGE,
    },
    304: {"description": "The client has this file", "headers": _LASTING},
    307: {
        "description": "The file is in a bucket, which sends it",
        "headers": {"Location": header("Where; a URL for this method, good for a few minutes.")},
    },
    **problem_responses(401, 403, 404, 409, 410, 412, 416, 429, 501, 503),
}


def _parameter(name: str, place: str, description: str) -> dict[str, Any]:
    schema = {"type": "string"}
    return {"name": name, "in": place, "description": description, "schema": schema}


DOWNLOAD: dict[str, Any] = {
    # With a token, or, by a link, with nothing.
    "security": [{"bearer": []}, {}],
    "parameters": [
        _parameter("link", "query", "Of a link: its id."),
        _parameter("maker", "query", "Of a link: a hash of who made it."),
        _parameter("expires", "query", "Of a link: until when it is good."),
        _parameter("signature", "query", "Of a link."),
        _parameter("Range", "header", "RFC 9110, 14: one range of bytes, or several."),
        _parameter("If-Range", "header", "The ETag of the file that the client has a part of."),
    ],
}

router = APIRouter(prefix="/api/jobs", tags=["downloads"])


async def download_job(job_id: JobId, request: Request, caller: FetchingCaller) -> Response:
    """Fetch a completed job's file, as it is stored.

    With a token, or with a link that `POST /api/jobs/{job_id}/link` has made. An interrupted
    download goes on with Range. HEAD answers the same without the file.

    Where the file is in a bucket, 307 leads to a URL of it for GET, or for HEAD, which needs no
    token: send none there. To go on with Range, come here again. Range works there, too.

    409 while there is no file; 410 once its retention is over, or it is gone from its storage.
    Retention removes the job as well: from then on it is 404, or 403 by a link.
    """
    downloads: Downloads = request.app.state.downloads
    downloads.require(links=caller is None)
    if caller is None:
        job = await downloads.linked_job(job_id, request)
        owner = SlotOwner(job.project_id, is_link=True)
    else:
        job = await found_job(job_id, caller, request.app.state.store)
        owner = SlotOwner(caller.subject)
    trail.about(request, project=job.project_id, job=job.job_id)
    file = await downloads.fetchable(job)
    return await downloads.respond(request, file, owner)


async def _call_download(request: Request) -> Response:
    # An error is an answer to a link, too.
    add_response_headers(request, security_headers.FOR_DOWNLOAD)
    caller = await fetching_caller(request)
    return await download_job(request.path_params["job_id"], request, caller)


router.add_api_route(
    "/{job_id}/download",
    download_job,
    route_class_override=called_by(_call_download),
    summary="Fetch a job's file",
    response_class=Response,
    response_description="The file",
    responses=DOWNLOAD_RESPONSES,
    openapi_extra=DOWNLOAD,
)


async def link_job(
    job_id: JobId, request: Request, caller: ReadingCaller, body: LinkRequest
) -> Response:
    """Make a link to a completed job's file: whoever has it needs no token, for a while."""
    downloads: Downloads = request.app.state.downloads
    job = await found_job(job_id, caller, request.app.state.store)
    await downloads.check(await downloads.fetchable(job))
    link, made = downloads.link(job, body, caller)
    trail.about(
        request,
        project=job.project_id,
        job=job.job_id,
        link=link.link_id,
        link_maker=link.maker,
    )
    trail.note(request, "link", "made")
    return data_response(made.model_dump_json().encode(), 201, {"Cache-Control": "no-store"})


async def _call_link(request: Request) -> Response:
    # In this order: 401, then 429, then 501, then 400.
    caller = await reading_caller(request)
    request.app.state.downloads.require(links=True)
    body = await read_json(request, LinkRequest, default=LinkRequest())
    return await link_job(request.path_params["job_id"], request, caller, body)


router.add_api_route(
    "/{job_id}/link",
    link_job,
    methods=["POST"],
    route_class_override=called_by(_call_link),
    status_code=201,
    summary="Make a link to a job's file",
    response_description="The link",
    response_model=Envelope[LinkView],
    responses=problem_responses(400, 401, 404, 409, 410, 413, 415, 429, 501, 503),
    openapi_extra={"requestBody": {"required": False}},
)


# For the document alone, as a job's.
LinkId = Annotated[str, Path(json_schema_extra={"pattern": f"^{LINK_ID}$"})]
_TAKE_BACK: dict[str, Any] = {
    "status_code": 204,
    "response_class": Response,
    "response_description": "They open nothing any more",
    "responses": problem_responses(401, 404, 429, 503),
}


@router.delete("/{job_id}/links", summary="Take back all links to a job's file", **_TAKE_BACK)
async def take_back_links(
    job_id: JobId, request: Request, caller: ReadingCaller, store: Store
) -> Response:
    """End every link to the job's file that was made until now. Repeating it is harmless.

    Downloads that are under way go on. Other replicas know of it within a second.
    """
    return await _take_back(request, await found_job(job_id, caller, store), None)


@router.delete("/{job_id}/links/{link_id}", summary="Take back a link", **_TAKE_BACK)
async def take_back_link(
    job_id: JobId, link_id: LinkId, request: Request, caller: ReadingCaller, store: Store
) -> Response:
    """End one link to the job's file. Repeating it is harmless.

    After a hundred links of a job that were taken back singly, one more takes back all.
    """
    job = await found_job(job_id, caller, store)
    if not re.fullmatch(LINK_ID, link_id):
        raise problems.link_not_found()
    return await _take_back(request, job, link_id)


async def _take_back(request: Request, job: CachedJob, link_id: str | None) -> Response:
    store: JobStore = request.app.state.store
    trail.about(request, project=job.project_id, job=job.job_id, link=link_id)
    with trail.unanswered_noted(request, "take_back_links"):
        is_done = await store.take_back_links(job, link_id)
    if not is_done:
        raise job_not_found()
    trail.note(request, "take_back_links", "done")
    return Response(status_code=204)
