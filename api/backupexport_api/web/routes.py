"""The web page at /, the API docs at /docs, and their few and small files, held in memory."""

import gzip
import hashlib
import html
import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fastapi import APIRouter, HTTPException, Request, Response
from starlette.types import Receive, Scope, Send

from backupexport_api.http import security_headers, transport
from backupexport_api.http.entity_tags import has_already

router = APIRouter(include_in_schema=False)

_PIECE_BYTES = 64 * 1024
_FOLDER = Path(__file__).parent
_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_SWAGGER_UI_FILES = ("swagger-ui-bundle.js", "swagger-ui.css")


@router.get("/")
async def show_page(request: Request) -> Response:
    """Return the web page, which uses the public API alone."""
    page = _page("index", request.app.state.projects_claim)
    return _respond(request, page, security_headers.FOR_PAGE)


@router.get("/docs")
async def show_docs(request: Request) -> Response:
    """Return Swagger UI from the API's own files: FastAPI's own page asks another host for it."""
    return _respond(request, _page("docs"), security_headers.FOR_SWAGGER_UI)


@router.get("/assets/{path:path}")
async def show_asset(request: Request, path: str) -> Response:
    """Return one of the files that the pages load; raises HTTPException (404)."""
    file = _files().get(path)
    if file is None:
        raise HTTPException(404)
    return _respond(request, _read(file), security_headers.FOR_ASSET)


@dataclass(frozen=True, slots=True)
class _Asset:
    media_type: str
    plain: bytes
    gzipped: bytes
    digest: str


@cache
def _page(name: str, projects_claim: str = "") -> _Asset:
    """Return the page `name`, told what the tokens' claim with the projects is."""
    file = _FOLDER / f"{name}.html"
    text = file.read_text("utf-8").replace("{projects_claim}", html.escape(projects_claim))
    return _asset(text.encode(), file.suffix)


@cache
def _files() -> dict[str, Path]:
    """Return the files below /assets/ by path; no other path leads to a file."""
    ours = {file.name: file for file in _FOLDER.iterdir() if file.suffix in {".css", ".js", ".svg"}}
    # Found, not imported: it is a whole app of its own.
    spec = importlib.util.find_spec("fastapi_offline")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("fastapi_offline")
    swagger_ui = Path(spec.origin).parent / "static"
    return ours | {f"swagger-ui/{name}": swagger_ui / name for name in _SWAGGER_UI_FILES}


@cache
def _read(file: Path) -> _Asset:
    return _asset(file.read_bytes(), file.suffix)


def _asset(plain: bytes, suffix: str) -> _Asset:
    return _Asset(
        media_type=_MEDIA_TYPES[suffix],
        plain=plain,
        # mtime: replicas have to send the same bytes under the same ETag.
        gzipped=gzip.compress(plain, mtime=0),
        digest=hashlib.sha256(plain).hexdigest()[:32],
    )


def _respond(request: Request, asset: _Asset, headers: dict[str, str]) -> Response:
    gzipped = _accepts_gzip(request.headers.get("Accept-Encoding", ""))
    etag = f'"{asset.digest}{"-gzip" if gzipped else ""}"'
    headers = {
        **headers,
        # Names without a version in them: a browser asks each time, and mostly hears 304.
        "Cache-Control": "no-cache",
        "ETag": etag,
        "Vary": "Accept-Encoding",
    }
    if has_already(request, etag):
        return Response(status_code=304, headers=headers)
    if gzipped:
        headers["Content-Encoding"] = "gzip"
    # uvicorn leaves the body of an answer to HEAD away by itself.
    body = asset.gzipped if gzipped else asset.plain
    return _Pieces(body, headers=headers, media_type=asset.media_type)


class _Pieces(Response):
    """A body of which little is in memory for a client that doesn't read."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer; called by Starlette."""
        del scope, receive
        await send(transport.start_message(self))
        # Each waits until the client has taken most of the one before.
        for start in range(0, len(self.body), _PIECE_BYTES):
            piece = bytes(self.body[start : start + _PIECE_BYTES])
            await send(transport.body_message(piece, more=True))
        await send(transport.body_message(b"", more=False))


def _accepts_gzip(accept_encoding: str) -> bool:
    for item in accept_encoding.lower().split(","):
        name, _, parameters = item.partition(";")
        if name.strip() == "gzip":
            return parameters.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False
