"""The OpenAPI document, where Schemathesis can't know better."""

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema_rs
import pytest
from hostile_values import CASES, ODD, Hostile


@pytest.fixture
async def document(client: httpx.AsyncClient) -> dict[str, Any]:
    response = await client.get("/openapi.json")
    found: dict[str, Any] = response.json()
    return found


@pytest.fixture
def accepts(document: dict[str, Any]) -> Any:
    """Whether the document lets a client send a body."""
    return jsonschema_rs.Draft202012Validator(
        {"$ref": "#/components/schemas/ExportRequest", "components": document["components"]}
    ).is_valid


def operations_of(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        operation["operationId"]: operation
        for path in document["paths"].values()
        for operation in path.values()
    }


def nodes_of(node: Any) -> Iterator[dict[str, Any]]:
    """Every object in the document."""
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node:
        if isinstance(child, dict | list):
            yield from nodes_of(child)


def _is_unicode(case: Hostile) -> bool:
    try:
        json.dumps(case.body, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def test_the_document_forbids_what_is_refused(accepts: Any) -> None:
    # No validator is ever handed a lone surrogate.
    cases = [case for case in CASES if _is_unicode(case)]
    assert len(cases) > 1000
    assert [case.id for case in cases if accepts(case.body)] == []


def test_the_document_allows_what_is_accepted(accepts: Any) -> None:
    assert [odd.id for odd in ODD if not accepts(odd.body)] == []


def test_its_own_examples_are_good(document: dict[str, Any], accepts: Any) -> None:
    examples = document["components"]["schemas"]["ExportRequest"]["examples"]
    assert examples
    assert all(accepts(example) for example in examples)


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    for node in nodes_of(document):
        if (reference := node.get("$ref")) is not None:
            found: Any = document
            for part in reference.removeprefix("#/").split("/"):
                assert part in found, reference
                found = found[part]


def test_nothing_is_defined_that_nothing_refers_to(document: dict[str, Any]) -> None:
    told = json.dumps(document)
    for kind, named in document["components"].items():
        if kind != "securitySchemes":
            for name in named:
                assert f'"#/components/{kind}/{name}"' in told, name


def test_every_job_id_leads_on(document: dict[str, Any]) -> None:
    operations = operations_of(document)
    for name, status in (
        ("request_export", "202"),
        ("list_jobs", "200"),
        ("show_job", "200"),
        ("cancel_job", "202"),
    ):
        links = operations[name]["responses"][status]["links"].values()
        assert links, name
        for link in links:
            assert link["operationId"] in operations
            assert set(link["parameters"]) == {"job_id"}


def test_422_never_reaches_a_client(document: dict[str, Any]) -> None:
    for operation in operations_of(document).values():
        assert "422" not in operation["responses"]
        # Any other status would be allowed by it, and no checker could object.
        assert "default" not in operation["responses"]
    assert "HTTPValidationError" not in json.dumps(document)


def test_every_problem_is_a_problem(document: dict[str, Any]) -> None:
    for operation in operations_of(document).values():
        for status, response in operation["responses"].items():
            if status in ("304", "307"):
                assert "content" not in response
            elif not status.startswith("2"):
                assert list(response["content"]) == ["application/problem+json"]


def test_what_needs_a_token_says_so(document: dict[str, Any]) -> None:
    public = ("healthz", "readyz", "show_client_configuration")
    for name, operation in operations_of(document).items():
        needs_a_token = "security" in operation
        assert needs_a_token == ("401" in operation["responses"]), name
        assert needs_a_token == (name not in public), name
    (scheme,) = document["components"]["securitySchemes"].values()
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")


def test_every_field_and_parameter_is_explained(document: dict[str, Any]) -> None:
    for name, schema in document["components"]["schemas"].items():
        for field, described in schema.get("properties", {}).items():
            if field not in ("data", "next_cursor", "status") and "$ref" not in described:
                assert described.get("description"), f"{name}.{field}"
    for operation in operations_of(document).values():
        assert operation["summary"]
        assert operation["description"]


def test_nothing_of_kubernetes_and_python_shows(document: dict[str, Any]) -> None:
    told = json.dumps(document)
    assert "x-kubernetes" not in told
    assert not re.search(r"backupexport_(api|contract)|pydantic|fastapi", told, re.IGNORECASE)
