"""The route that lists projects."""

import json
from typing import Annotated

from fastapi import APIRouter, Query, Response

from backupexport_api.http.openapi import problem_responses
from backupexport_api.http.routing import json_response
from backupexport_api.jobs.dependencies import Store
from backupexport_api.limits.callers import ReadingCaller
from backupexport_api.projects.query import ProjectQuery
from backupexport_api.projects.view import ProjectList, project_json

router = APIRouter()


@router.get(
    "/api/projects",
    tags=["projects"],
    summary="List projects",
    response_description="The projects, by id",
    response_model=ProjectList,
    responses=problem_responses(400, 401, 429, 503),
)
async def list_projects(
    caller: ReadingCaller, store: Store, query: Annotated[ProjectQuery, Query()]
) -> Response:
    """List the projects that the token may export, each with its newest job.

    A project that no ExportTarget serves is not among them, whatever the token names. A
    `next_cursor` that is not null leads to more.
    """
    found, has_more = await store.list_projects(query.after, query.limit, caller.access)
    last = found[-1][0].project_id if has_more else None
    listed = b",".join(project_json(target, newest) for target, newest in found)
    body = b'{"data":[%b],"next_cursor":%b}' % (listed, json.dumps(last).encode())
    return json_response(body, status=200)
