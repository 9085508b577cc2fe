"""The route GET /api/jobs/{job_id}/events."""

import time
from contextlib import ExitStack
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response

from backupexport_api.auth.authentication import BearerToken
from backupexport_api.events.job_events import ClientState, JobEvents
from backupexport_api.events.streams import MEDIA_TYPE, EventStream, EventStreams
from backupexport_api.http.openapi import problem_responses
from backupexport_api.http.problems import ProblemError
from backupexport_api.http.routing import called_by
from backupexport_api.jobs.dependencies import JobId, found_job
from backupexport_api.jobs.listeners import Change
from backupexport_api.jobs.store import JobStore
from backupexport_api.limits.callers import ReadingCaller, reading_caller

router = APIRouter(prefix="/api/jobs", tags=["jobs"])

_HEADER = "Last-Event-ID"
_DESCRIPTION = """Server-Sent Events: the job as GET /api/jobs/{job_id} shows it, now and whenever
it changes, until it has ended and every delivery with it. A client that is slow gets the newest
state, not each one. An event `gone` ends the stream of a job that was deleted.

With the last event's id in Last-Event-ID, as EventSource clients that can send headers do, a
stream goes on where it was cut, on any replica; after the last event the answer is 204. The stream
ends when its token expires, when its replica is restarted, and after an hour in any case."""

# Each event of the stream: what OpenAPI 3.2 calls itemSchema, and readers of 3.1 take this for.
_EVENT: dict[str, Any] = {
    "type": "object",
    "required": ["data"],
    "properties": {
        "id": {"type": "string", "description": "What Last-Event-ID goes on from."},
        "event": {"enum": ["message", "gone"]},
        "data": {
            "type": "string",
            "description": "The job; of one that is gone only the job_id.",
            "contentMediaType": "application/json",
            "contentSchema": {"$ref": "#/components/schemas/JobView"},
        },
    },
}

LastEventId = Annotated[
    str | None, Header(alias=_HEADER, description="The id of the last event that was received.")
]

_authenticated = BearerToken()


async def watch_job(
    job_id: JobId, caller: ReadingCaller, request: Request, last_event_id: LastEventId = None
) -> Response:
    """Follow a job."""
    store: JobStore = request.app.state.store
    streams: EventStreams = request.app.state.event_streams
    client_state = ClientState(last_event_id)
    with ExitStack() as listening:
        # Before the job is looked up, so that no change is missed in between.
        listener = listening.enter_context(store.listen_to_job(job_id))
        job = await found_job(job_id, caller, store)
        if listener.peek() is None:
            listener.tell(Change(job))
        if job.is_settled and client_state.has(job):
            return Response(status_code=204)
        events = JobEvents(
            listener,
            client_state,
            caller.access,
            lambda: _is_still_welcome(request),
            heartbeat_seconds=streams.heartbeat_seconds,
            ends_at=min(caller.expires_at, time.time() + streams.lifetime()),
        )
        return EventStream(events, streams, caller.subject, listening.pop_all())


async def _is_still_welcome(request: Request) -> bool:
    """Return whether the token would be accepted now: its key may have been removed."""
    try:
        await _authenticated(request)
    except ProblemError as error:
        # Keys that can't be read for now refuse nobody.
        return error.status != 401
    return True


async def _call_watch_job(request: Request) -> Response:
    caller = await reading_caller(request)
    last = request.headers.get(_HEADER)
    return await watch_job(request.path_params["job_id"], caller, request, last)


router.add_api_route(
    "/{job_id}/events",
    watch_job,
    route_class_override=called_by(_call_watch_job),
    summary="Follow a job",
    description=_DESCRIPTION,
    response_class=Response,
    responses=problem_responses(401, 404, 429, 503)
    | {
        200: {"description": "The stream", "content": {MEDIA_TYPE: {"schema": _EVENT}}},
        204: {"description": "The last event was received: there is nothing more to come"},
    },
)
