"""The route that tells clients where to get a token; it needs none."""

from fastapi import APIRouter, Request, Response

from backupexport_api.auth.client_configuration import ClientConfiguration, ClientConfigurationView
from backupexport_api.http.entity_tags import has_already
from backupexport_api.http.openapi import header
from backupexport_api.http.routing import Envelope, data_response

router = APIRouter()

_CACHING = {
    "Cache-Control": header("Anybody may keep it for five minutes."),
    "ETag": header("Changes with the configuration."),
}


@router.get(
    "/api/client-configuration",
    tags=["clients"],
    summary="Show how to get a token",
    response_description="What this installation offers to clients",
    response_model=Envelope[ClientConfigurationView],
    responses={
        200: {"headers": _CACHING},
        304: {"description": "It is as If-None-Match says", "headers": _CACHING},
    },
)
async def show_client_configuration(request: Request) -> Response:
    """Show what a client has to know before it has a token. It is the same for everybody."""
    configuration: ClientConfiguration = request.app.state.client_configuration
    headers = {"Cache-Control": "public, max-age=300", "ETag": configuration.etag}
    if has_already(request, configuration.etag):
        return Response(status_code=304, headers=headers)
    return data_response(configuration.json, headers=headers)
