"""What every answer has: a request id, a problem for every error, a line in the log."""

import logging
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from backupexport_api.http import problems
from backupexport_api.kube.errors import StoreUnavailableError

Make = Callable[..., Any]

JOB = "/api/jobs/0b7cf3b6-6f2b-4c55-8f6c-0f6a3f0a7f10"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/api/backup/export/", 404, "not_found"),
        ("POST", "/api/backup/export/", 404, "not_found"),
        ("GET", "/api/backup/export", 405, "method_not_allowed"),
        ("DELETE", JOB, 405, "method_not_allowed"),
        ("POST", "/healthz", 405, "method_not_allowed"),
        ("GET", JOB, 401, "token_missing"),
    ],
)
async def test_errors_are_problems(
    client: httpx.AsyncClient, method: Any, path: Any, status: Any, code: str
) -> None:
    response = await client.request(method, path)
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/problem+json"
    body = response.json()
    assert body["type"] == "about:blank"
    assert body["title"] == problems.title_of(status)
    assert (body["status"], body["code"]) == (status, code)
    assert body["detail"]
    assert body["request_id"] == response.headers["X-Request-ID"]
    if status == 405:
        assert response.headers["Allow"]


@pytest.mark.parametrize("given", ["abc-123", "A.b_c", "x" * 128])
async def test_a_sane_request_id_is_taken(client: httpx.AsyncClient, given: Any) -> None:
    response = await client.get("/nowhere", headers={"X-Request-ID": given})
    assert response.headers["X-Request-ID"] == given
    assert response.json()["request_id"] == given


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", 'a"b', "a/b", "<script>"])
async def test_any_other_is_replaced(client: httpx.AsyncClient, given: Any) -> None:
    response = await client.get("/nowhere", headers={"X-Request-ID": given})
    made = response.headers["X-Request-ID"]
    assert made != given
    assert len(made) == 36


async def test_a_line_for_each_request(
    client: httpx.AsyncClient, bearer: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await client.get(JOB, headers=bearer())
    (record,) = [record for record in caplog.records if record.message == "request"]
    fields = vars(record)["fields"]
    assert fields.pop("ms") >= 0
    assert fields == {
        "method": "GET",
        "route": "/api/jobs/{job_id}",
        "status": 404,
        "sub": "alice",
    }


@pytest.mark.parametrize("job_id", ["x", "..", "0B7CF3B6-6F2B-4C55-8F6C-0F6A3F0A7F10", "%00"])
async def test_an_id_that_is_none_is_not_looked_up(
    client: httpx.AsyncClient, bearer: Make, store: Any, job_id: Any
) -> None:
    store.failure = AssertionError("looked up")
    response = await client.get(f"/api/jobs/{job_id}", headers=bearer())
    assert response.status_code == 404


async def test_reading_while_the_store_is_down(
    client: httpx.AsyncClient, bearer: Make, store: Any
) -> None:
    store.failure = StoreUnavailableError("Try again.", "down")
    response = await client.get(JOB, headers=bearer())
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) > 0


async def test_healthz(client: httpx.AsyncClient, store: Any) -> None:
    store.not_ready = ["everything"]
    assert (await client.get("/healthz")).json() == {"data": {"status": "ok"}}


async def test_readyz(client: httpx.AsyncClient, store: Any) -> None:
    assert (await client.get("/readyz")).json() == {"data": {"status": "ready"}}
    store.not_ready = ["the cache of backupexports is not synced"]
    response = await client.get("/readyz")
    assert (response.status_code, response.json()["code"]) == (503, "not_ready")
    assert "backupexports is not synced" in response.json()["detail"]


async def test_openapi(client: httpx.AsyncClient) -> None:
    response = await client.get("/openapi.json")
    document, text = response.json(), response.text
    assert "HTTPValidationError" not in text
    assert "x-kubernetes" not in text
    schemas = document["components"]["schemas"]
    for reference in set(_references(document)):
        _, _, kind, name = reference.split("/")
        assert name in document["components"][kind]
    for path in document["paths"].values():
        for operation in path.values():
            assert "422" not in operation["responses"]
            assert "default" not in operation["responses"]
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    post = document["paths"]["/api/backup/export"]["post"]
    assert post["security"] == [{"bearer": []}]
    assert {"202", "400", "401", "403", "404", "413", "409", "415", "429", "503"} == set(
        post["responses"]
    )
    assert "application/problem+json" in post["responses"]["400"]["content"]
    assert schemas["ExportRequest"]["additionalProperties"] is False
    assert set(schemas["ExportRequest"]["properties"]) == {
        "project_id",
        "format",
        "compress",
        "compression",
        "notify_email",
        "storage_path",
        "content",
        "include_schemas",
        "exclude_schemas",
        "include_tables",
        "exclude_tables",
        "exclude_table_data",
        "owner",
        "privileges",
        "encrypt_to",
    }
    headers = post["responses"]["202"]["headers"]
    assert {"Location", "X-Request-ID", "RateLimit-Remaining"} == set(headers) & {
        "Location", "X-Request-ID", "RateLimit-Remaining", "Retry-After"
    }  # fmt: skip
    (key,) = post["parameters"]
    assert (key["name"], key["required"]) == ("Idempotency-Key", False)
    assert "errors" in schemas["Problem"]["properties"]
    assert "artifact" in schemas["JobView"]["properties"]


def _references(node: Any) -> Any:
    if isinstance(node, dict):
        yield from (value for key, value in node.items() if key == "$ref")
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


async def test_docs(client: httpx.AsyncClient) -> None:
    assert (await client.get("/docs")).status_code == 200


@pytest.mark.parametrize("path", ["/api/backup/export", "/healthz", "/nowhere"])
async def test_a_request_with_two_lengths_ends_its_connection(
    client: httpx.AsyncClient, bearer: Make, store: Any, path: str
) -> None:
    headers = {**bearer(), "Content-Length": "5", "Transfer-Encoding": "chunked"}
    response = await client.post(path, content=b'{"project_id": "proj-123"}', headers=headers)
    assert (response.status_code, response.json()["code"]) == (400, "ambiguous_length")
    assert response.headers["Connection"] == "close"
    assert response.headers["X-Request-ID"] == response.json()["request_id"]
    assert store.manifests == []
