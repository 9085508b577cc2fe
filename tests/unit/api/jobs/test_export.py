"""POST /api/backup/export: what is stored and what is answered."""

import json
import re
import uuid
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from age_keys import AGE, MISTYPED, OF_LOW_ORDER, OF_LOW_ORDER_SSH, SSH, ZERO_RSA
from backupexport_api.kube.errors import StoreRefusedError, StoreUnavailableError
from backupexport_contract import names

Make = Callable[..., Any]

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


async def test_accepted(post: Make, store: Any) -> None:
    response = await post()
    assert response.status_code == 202
    data = response.json()["data"]
    assert set(response.json()) == {"data"}
    assert set(data) == {"job_id", "status", "project_id", "created_at"}
    assert (data["status"], data["project_id"]) == ("pending", "proj-123")
    assert uuid.UUID(data["job_id"]).version == 4
    assert TIME.fullmatch(data["created_at"])
    assert response.headers["Location"] == f"/api/jobs/{data['job_id']}"
    (manifest,) = store.manifests
    assert manifest["metadata"]["name"] == data["job_id"]
    assert manifest["metadata"]["annotations"] == {
        names.ANNOTATION_REQUESTED_BY: "alice",
        names.ANNOTATION_CREATED_AT: data["created_at"],
    }
    assert manifest["metadata"]["labels"] == {
        names.LABEL_JOB_ID: data["job_id"],
        names.LABEL_PROJECT_HASH: names.project_hash("proj-123"),
    }


@pytest.mark.parametrize(
    ("fields", "spec"),
    [
        ({}, {"format": "sql", "compress": True}),
        (
            {"format": "custom", "content": "schema", "owner": False, "include_schemas": ["a.*"]},
            {
                "format": "custom",
                "compress": True,
                "content": "schema",
                "owner": False,
                "includeSchemas": ["a.*"],
            },
        ),
        ({"compress": False}, {"format": "sql", "compress": False}),
        (
            {"format": "tar", "compression": "gzip", "storage_path": "a/b", "notify_email": None},
            {"format": "tar", "compress": True, "compression": "gzip", "storagePath": "a/b"},
        ),
        (
            {"notify_email": "ops@example.com"},
            {"format": "sql", "compress": True, "notifyEmail": "ops@example.com"},
        ),
    ],
)
async def test_spec(post: Make, store: Any, fields: dict[str, Any], spec: Any) -> None:
    response = await post(content=json.dumps({"project_id": "proj-123", **fields}).encode())
    assert response.status_code == 202, response.text
    usual = {"projectId": "proj-123", "content": "all", "owner": True, "privileges": True}
    assert store.manifests[0]["spec"] == usual | spec


async def test_two_requests_are_two_jobs(post: Make) -> None:
    first, second = await post(), await post()
    assert first.json()["data"]["job_id"] != second.json()["data"]["job_id"]


async def test_the_job_can_be_read_at_once(
    post: Make, client: httpx.AsyncClient, bearer: Make
) -> None:
    location = (await post()).headers["Location"]
    assert (await client.get(location, headers=bearer())).status_code == 200


async def test_unknown_project(post: Make, store: Any) -> None:
    response = await post(project_id="nobody")
    assert (response.status_code, response.json()["code"]) == (404, "project_not_found")
    assert store.manifests == []


@pytest.mark.parametrize(
    ("recipients", "code"),
    [
        (["CANARY"], "recipient_invalid"),
        ([AGE, ""], "recipient_length"),
        ([AGE, "A" * 1501], "recipient_length"),
        ([f"{AGE}\n"], "recipient_invalid"),
        ([MISTYPED], "recipient_invalid"),
        ([SSH, SSH.replace(" a b@c", "AAAA")], "recipient_invalid"),
        ([OF_LOW_ORDER[0]], "recipient_invalid"),
        ([OF_LOW_ORDER_SSH[0]], "recipient_invalid"),
        ([ZERO_RSA[0]], "recipient_invalid"),
        ([AGE] * 11, "too_long"),
        ([1], "not_a_string"),
        (AGE, "list_type"),
    ],
)
async def test_recipients_that_are_none(post: Make, store: Any, recipients: Any, code: str) -> None:
    response = await post(encrypt_to=recipients)
    assert response.status_code == 400
    (error,) = response.json()["errors"]
    assert (error["field"].split(".")[0], error["code"]) == ("encrypt_to", code)
    assert "CANARY" not in response.text
    assert store.manifests == []


async def test_recipients(post: Make, store: Any) -> None:
    assert (await post(encrypt_to=[AGE, SSH])).status_code == 202
    assert store.manifests[0]["spec"]["encryptTo"] == [AGE, SSH]


async def test_a_project_that_wants_a_recipient(post: Make, store: Any) -> None:
    store.encrypted_projects.add("proj-123")
    refused: list[dict[str, Any]] = [{}, {"encrypt_to": []}, {"encrypt_to": None}]
    for fields in refused:
        response = await post(**fields)
        assert response.status_code == 400
        (error,) = response.json()["errors"]
        assert (error["field"], error["code"]) == ("encrypt_to", "recipient_required")
    assert store.manifests == []
    assert (await post(encrypt_to=[AGE])).status_code == 202


async def test_store_unavailable(post: Make, store: Any) -> None:
    store.failure = StoreUnavailableError("Try again.", "connection refused by 10.0.0.1")
    response = await post()
    assert (response.status_code, response.json()["code"]) == (503, "kubernetes_unavailable")
    assert int(response.headers["Retry-After"]) > 0
    assert response.json()["detail"] == "Try again."
    assert "10.0.0.1" not in response.text


@pytest.mark.parametrize("failure", [StoreRefusedError("spec.x: bad"), KeyError("hunter2")])
async def test_our_bug(
    post: Make, store: Any, caplog: pytest.LogCaptureFixture, failure: Any
) -> None:
    store.failure = failure
    response = await post()
    assert response.status_code == 500
    assert response.headers["Content-Type"] == "application/problem+json"
    body = response.json()
    assert body["code"] == "internal_error"
    assert body["request_id"] == response.headers["X-Request-ID"]
    assert str(failure) not in response.text
    assert "unhandled exception" in caplog.text


@pytest.mark.parametrize("subject", ["ü/ñ\n=,", "a" * 500, "Ops <ops@example.com>"])
async def test_a_subject_is_any_text(
    client: httpx.AsyncClient, bearer: Make, store: Any, subject: Any
) -> None:
    response = await client.post(
        "/api/backup/export", json={"project_id": "proj-123"}, headers=bearer(sub=subject)
    )
    assert response.status_code == 202
    annotations = store.manifests[0]["metadata"]["annotations"]
    assert annotations[names.ANNOTATION_REQUESTED_BY] == subject
