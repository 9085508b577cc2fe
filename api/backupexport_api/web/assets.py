"""The web page's files, held in memory: they are few, small, and never change while we run."""

import gzip
import hashlib
import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_OURS = Path(__file__).parent
_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_SWAGGER_UI = "swagger-ui/"
_SWAGGER_UI_FILES = ("swagger-ui-bundle.js", "swagger-ui.css")


@dataclass(frozen=True, slots=True)
class Asset:
    """One file as it is sent."""

    media_type: str
    plain: bytes
    gzipped: bytes
    digest: str


@cache
def page(name: str) -> Asset:
    """The HTML page of this name."""
    return _read(_OURS / f"{name}.html")


def asset(path: str) -> Asset | None:
    """The file at this path below /assets/, or None: no path but these leads to a file."""
    file = _files().get(path)
    return None if file is None else _read(file)


@cache
def _files() -> dict[str, Path]:
    ours = {file.name: file for file in _OURS.iterdir() if file.suffix in {".css", ".js", ".svg"}}
    swagger_ui = _static_files_of("fastapi_offline")
    return ours | {_SWAGGER_UI + name: swagger_ui / name for name in _SWAGGER_UI_FILES}


def _static_files_of(package: str) -> Path:
    """A package's folder of static files; found, not imported: it is a whole app of its own."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(package)
    return Path(spec.origin).parent / "static"


@cache
def _read(file: Path) -> Asset:
    plain = file.read_bytes()
    return Asset(
        media_type=_MEDIA_TYPES[file.suffix],
        plain=plain,
        # mtime: replicas have to send the same bytes under the same ETag.
        gzipped=gzip.compress(plain, mtime=0),
        digest=hashlib.sha256(plain).hexdigest()[:32],
    )
