"""The OpenAPI document: FastAPI's, with what it can't know and without what is not for clients."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from backupexport_api.export_request import ExportRequest
from backupexport_api.problems import MEDIA_TYPE, Problem, title_of

_SCHEMA = "#/components/schemas/{}"
_KUBERNETES_KEYS = "x-kubernetes-"


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What a route answers beside success; `default` also keeps FastAPI's own 422 away."""
    content = {MEDIA_TYPE: {"schema": {"$ref": _SCHEMA.format("Problem")}}}
    responses: dict[int | str, dict[str, Any]] = {
        status: {"description": title_of(status), "content": content} for status in statuses
    }
    return responses | {"default": {"description": "Any other problem", "content": content}}


def job_links(status: int, job_id: str, *operations: str) -> dict[int | str, dict[str, Any]]:
    """Where an answer's `job_id`, a runtime expression of OpenAPI, leads to."""
    links = {
        operation: {"operationId": operation, "parameters": {"job_id": job_id}}
        for operation in operations
    }
    return {status: {"links": links}}


def json_request_body(schema: str) -> dict[str, Any]:
    """`openapi_extra` of a route that reads its body by itself."""
    return {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": _SCHEMA.format(schema)}}},
        }
    }


def install(app: FastAPI) -> None:
    """Make `app` serve our document."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
    )
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    # Routes that read bodies and write errors by themselves are all FastAPI sees of these.
    _, ours = models_json_schema(
        [(ExportRequest, "validation"), (Problem, "serialization")],
        ref_template=_SCHEMA.format("{model}"),
    )
    schemas.update(ours["$defs"])
    cleaned: dict[str, Any] = _without_kubernetes_keys(document)
    return cleaned


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
