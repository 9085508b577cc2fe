"""What the OpenAPI document tells of a download."""

from typing import Any

from backupexport_api.finished_file import MEDIA_TYPES
from backupexport_api.openapi import problem_responses

_BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
_FILE = dict.fromkeys(MEDIA_TYPES, _BINARY)


def _text(description: str) -> dict[str, Any]:
    return {"description": description, "required": True, "schema": {"type": "string"}}


_LASTING = {
    "ETag": _text("A strong one, made from the file's SHA-256."),
    "Last-Modified": _text("When the export was completed."),
    "Accept-Ranges": _text("bytes"),
}
_DESCRIBED = _LASTING | {
    "Content-Disposition": _text("The file's name."),
    "Repr-Digest": _text("RFC 9530: SHA-256 of the whole file, in base64."),
}
_CONTENT_RANGE = {
    "Content-Range": _text("Which bytes these are; with several ranges it stands in each part.")
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
    **problem_responses(401, 403, 404, 409, 410, 412, 416, 429, 501, 503),
}


def _parameter(name: str, place: str, description: str) -> dict[str, Any]:
    schema = {"type": "string"}
    return {"name": name, "in": place, "description": description, "schema": schema}


DOWNLOAD: dict[str, Any] = {
    # With a token, or, by a link, with nothing.
    "security": [{"bearer": []}, {}],
    "parameters": [
        _parameter("expires", "query", "Of a link: until when it is good."),
        _parameter("signature", "query", "Of a link."),
        _parameter("Range", "header", "RFC 9110, 14: one range of bytes, or several."),
        _parameter("If-Range", "header", "The ETag of the file that the client has a part of."),
    ],
}
