"""The OpenAPI document: FastAPI's, with problems, headers and links added."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic.json_schema import models_json_schema

from backupexport_api.http.problems import MEDIA_TYPE, Problem, title_of
from backupexport_api.http.routing import without_head

_SCHEMA = "#/components/schemas/{}"
_HEADER = "#/components/headers/{}"
_KUBERNETES_KEYS = "x-kubernetes-"

_TEXT = {"type": "string"}
_WHOLE_NUMBER = {"type": "integer", "minimum": 0}


def header(description: str, schema: Mapping[str, Any] = _TEXT) -> dict[str, Any]:
    """Return a header that an answer always has."""
    return {"description": description, "required": True, "schema": schema}


_HEADERS = {
    "X-Request-ID": header("The request's own where it had a sane one, else a new one."),
    "Location": header("The job's path."),
    "WWW-Authenticate": header("RFC 6750."),
    "Retry-After": header("Seconds.", _WHOLE_NUMBER),
    "RateLimit-Limit": header("Requests in a window.", _WHOLE_NUMBER),
    "RateLimit-Remaining": header("Requests left now.", _WHOLE_NUMBER),
    "RateLimit-Reset": header("Seconds until one more.", _WHOLE_NUMBER),
}
_LIMIT_HEADERS = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")
_HEADERS_OF_STATUS = {
    "401": ("WWW-Authenticate",),
    "429": ("Retry-After",),
    "503": ("Retry-After",),
}


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the responses of a route that are problems, for FastAPI's `responses`."""
    content = {MEDIA_TYPE: {"schema": {"$ref": _SCHEMA.format("Problem")}}}
    return {status: {"description": title_of(status), "content": content} for status in statuses}


def job_links(
    status: int, job_id: str, *operations: str, headers: tuple[str, ...] = ()
) -> dict[int | str, dict[str, Any]]:
    """Return a response's links and headers for FastAPI's `responses`."""
    links: dict[str, Any] = {
        operation: {"operationId": operation, "parameters": {"job_id": job_id}}
        for operation in operations
    }
    shown = {name: {"$ref": _HEADER.format(name)} for name in headers}
    return {status: {"links": links, "headers": shown}}


def install(app: FastAPI) -> None:
    """Make `app` serve this document."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _document(app: FastAPI) -> dict[str, Any]:
    for route in app.routes:
        if isinstance(route, APIRoute):
            route.operation_id = route.name
    # HEAD goes without saying, and its operations would need ids of their own.
    routes = without_head(app.routes)
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=routes
    )
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    # No route returns one, so FastAPI knows nothing of it.
    template = _SCHEMA.format("{model}")
    _, ours = models_json_schema([(Problem, "serialization")], ref_template=template)
    schemas.update(ours["$defs"])
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    document["components"]["headers"] = _HEADERS
    for path in document["paths"].values():
        for operation in path.values():
            _complete(operation)
    cleaned: dict[str, Any] = _without_kubernetes_keys(document)
    return cleaned


def _complete(operation: dict[str, Any]) -> None:
    """Drop FastAPI's 422, which we never answer, and `null`: what is not given is not null."""
    for parameter in operation.get("parameters", ()):
        choices = parameter["schema"].pop("anyOf", [])
        for choice in choices:
            if choice != {"type": "null"}:
                parameter["schema"].update(choice)
    responses = operation["responses"]
    responses.pop("422", None)
    for status, response in responses.items():
        names = ["X-Request-ID", *_HEADERS_OF_STATUS.get(status, ())]
        if _is_counted(operation.get("security", ()), status):
            names += _LIMIT_HEADERS
        headers = response.setdefault("headers", {})
        headers.update({name: {"$ref": _HEADER.format(name)} for name in names})


def _is_counted(security: Sequence[dict[str, Any]], status: str) -> bool:
    # A request is counted once it is known who calls; by a link, once that is found good.
    unknown = ("401", "403", "501", "503") if {} in security else ("401", "503")
    return bool(security) and status not in unknown


def _without_kubernetes_keys(node: Any) -> Any:
    if isinstance(node, dict):
        return {
            key: _without_kubernetes_keys(value)
            for key, value in node.items()
            if not str(key).startswith(_KUBERNETES_KEYS)
        }
    if isinstance(node, list):
        return [_without_kubernetes_keys(item) for item in node]
    return node
