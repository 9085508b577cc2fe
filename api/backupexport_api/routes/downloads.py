"""GET and HEAD /api/jobs/{job_id}/download, and POST /api/jobs/{job_id}/link."""

from fastapi import APIRouter, Request, Response

from backupexport_api import security_headers
from backupexport_api.dependencies import (
    FetchingCaller,
    JobId,
    ReadingCaller,
    fetching_caller,
    found_job,
    link_body,
    reading_caller,
)
from backupexport_api.download_openapi import DOWNLOAD, DOWNLOAD_RESPONSES
from backupexport_api.download_places import Share
from backupexport_api.downloads import Downloads
from backupexport_api.link_request import LinkRequest, LinkView
from backupexport_api.openapi import problem_responses
from backupexport_api.request_context import add_response_headers
from backupexport_api.routes.direct_route import called_by
from backupexport_api.routes.envelope import Envelope, json_response

router = APIRouter(prefix="/api/jobs", tags=["downloads"])

_HEADERS = security_headers.for_download()


async def download(job_id: JobId, request: Request, caller: FetchingCaller) -> Response:
    """Fetch a completed job's file, as it lies on the volume.

    With a token, or with a link that `POST /api/jobs/{job_id}/link` has made. An interrupted
    download goes on with Range. HEAD answers the same without the file.

    409 while there is no file; 410 once its retention is over, or it is gone from the volume.
    Retention removes the job as well: from then on it is 404, or 403 by a link.
    """
    downloads: Downloads = request.app.state.downloads
    downloads.require(links=caller is None)
    if caller is None:
        job = await downloads.linked_job(job_id, request)
        share = Share(job.project_id, is_link=True)
    else:
        job = await found_job(job_id, caller, request.app.state.store)
        share = Share(caller.subject, is_link=False)
    file = await downloads.fetchable(job)
    return await downloads.respond(request, file, share)


async def _call_download(request: Request) -> Response:
    # An error is an answer to a link, too.
    add_response_headers(request, _HEADERS)
    caller = await fetching_caller(request)
    return await download(request.path_params["job_id"], request, caller)


_DownloadRoute = called_by(_call_download)
# It serves both, so that a 405 tells of both; the document would have to name each by an id.
router.add_api_route(
    "/{job_id}/download",
    download,
    methods=["GET", "HEAD"],
    route_class_override=_DownloadRoute,
    include_in_schema=False,
)
# Never reached: this one is the document's.
router.add_api_route(
    "/{job_id}/download",
    download,
    route_class_override=_DownloadRoute,
    operation_id="download_job",
    summary="Fetch a job's file",
    response_class=Response,
    response_description="The file",
    responses=DOWNLOAD_RESPONSES,
    openapi_extra=DOWNLOAD,
)


async def link(
    job_id: JobId, request: Request, caller: ReadingCaller, body: LinkRequest
) -> Response:
    """Make a link to a completed job's file: whoever has it needs no token, for a while."""
    downloads: Downloads = request.app.state.downloads
    job = await found_job(job_id, caller, request.app.state.store)
    await downloads.check(await downloads.fetchable(job))
    made = downloads.link(job, body)
    return json_response(
        b'{"data":%b}' % made.model_dump_json().encode(), 201, {"Cache-Control": "no-store"}
    )


async def _call_link(request: Request) -> Response:
    # In this order: 401, then 429, then 501, then 400.
    caller = await reading_caller(request)
    request.app.state.downloads.require(links=True)
    body = await link_body(request)
    return await link(request.path_params["job_id"], request, caller, body)


router.add_api_route(
    "/{job_id}/link",
    link,
    methods=["POST"],
    route_class_override=called_by(_call_link),
    operation_id="link_job",
    status_code=201,
    summary="Make a link to a job's file",
    response_description="The link",
    response_model=Envelope[LinkView],
    responses=problem_responses(400, 401, 404, 409, 410, 413, 415, 429, 501, 503),
    openapi_extra={"requestBody": {"required": False}},
)
