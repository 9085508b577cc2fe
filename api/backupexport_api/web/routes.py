"""The web page at /, the API docs at /docs, and their files; JSON is for the other modules."""

from fastapi import APIRouter, HTTPException, Request, Response

from backupexport_api.http import security_headers
from backupexport_api.web import assets
from backupexport_api.web.assets import Asset

router = APIRouter(include_in_schema=False)

_METHODS = ["GET", "HEAD"]


@router.api_route("/", methods=_METHODS)
async def show_page(request: Request) -> Response:
    """The web page, which uses nothing but the public API."""
    page = assets.page("index", request.app.state.projects_claim)
    return _respond(request, page, security_headers.FOR_PAGE)


@router.api_route("/docs", methods=_METHODS)
async def show_docs(request: Request) -> Response:
    """Swagger UI from our own files: FastAPI's own page asks another host for it."""
    return _respond(request, assets.page("docs"), security_headers.FOR_SWAGGER_UI)


@router.api_route("/assets/{path:path}", methods=_METHODS)
async def show_asset(request: Request, path: str) -> Response:
    """One of the files that the pages load."""
    asset = assets.asset(path)
    if asset is None:
        raise HTTPException(404)
    return _respond(request, asset, security_headers.FOR_ASSET)


def _respond(request: Request, asset: Asset, headers: dict[str, str]) -> Response:
    gzipped = _accepts_gzip(request.headers.get("Accept-Encoding", ""))
    etag = f'"{asset.digest}{"-gzip" if gzipped else ""}"'
    headers = {
        **headers,
        # Names without a version in them: a browser asks each time, and mostly hears 304.
        "Cache-Control": "no-cache",
        "ETag": etag,
        "Vary": "Accept-Encoding",
    }
    known = request.headers.get("If-None-Match", "").split(",")
    if not {"*", etag}.isdisjoint(item.strip().removeprefix("W/") for item in known):
        return Response(status_code=304, headers=headers)
    if gzipped:
        headers["Content-Encoding"] = "gzip"
    # uvicorn leaves the body of an answer to HEAD away by itself.
    body = asset.gzipped if gzipped else asset.plain
    return Response(body, headers=headers, media_type=asset.media_type)


def _accepts_gzip(accept_encoding: str) -> bool:
    for item in accept_encoding.lower().split(","):
        name, _, parameters = item.partition(";")
        if name.strip() == "gzip":
            return parameters.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False
