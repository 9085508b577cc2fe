"""Bodies that break rules: 400 with errors, 413, 415; never an echo."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

Make = Callable[..., Any]


def errors_of(response: httpx.Response) -> Any:
    assert response.status_code == 400
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json()["code"] == "invalid_request"
    return {(error["field"], error["code"]) for error in response.json()["errors"]}


BAD_FIELDS = [
    ({"project_id": None}, "project_id", "not_a_string"),
    ({"project_id": 7}, "project_id", "not_a_string"),
    ({"project_id": ""}, "project_id", "project_id_invalid"),
    ({"project_id": "a" * 101}, "project_id", "project_id_invalid"),
    ({"project_id": "proj-123\n"}, "project_id", "project_id_invalid"),
    ({"project_id": "a/b"}, "project_id", "project_id_invalid"),
    ({"project_id": "ü"}, "project_id", "project_id_invalid"),
    ({"format": "zip"}, "format", "not_allowed"),
    ({"format": "SQL"}, "format", "not_allowed"),
    ({"format": None}, "format", "not_allowed"),
    ({"compress": "true"}, "compress", "not_a_boolean"),
    ({"compress": "false"}, "compress", "not_a_boolean"),
    ({"compress": 1}, "compress", "not_a_boolean"),
    ({"compress": None}, "compress", "not_a_boolean"),
    ({"compression": "xz"}, "compression", "not_allowed"),
    ({"compress": False, "compression": "zstd"}, "compression", "compression_without_compress"),
    ({"notify_email": "ops"}, "notify_email", "notify_email_invalid"),
    ({"notify_email": "a@b.example\r\nBcc: c@d.example"}, "notify_email", "notify_email_invalid"),
    ({"notify_email": ["a@b.example"]}, "notify_email", "not_a_string"),
    ({"storage_path": "/etc"}, "storage_path", "storage_path_absolute"),
    ({"storage_path": ""}, "storage_path", "storage_path_length"),
    ({"storage_path": "a" * 256}, "storage_path", "storage_path_length"),
    ({"storage_path": "a/../b"}, "storage_path", "storage_path_parent"),
    ({"storage_path": "a..b"}, "storage_path", "storage_path_parent"),
    ({"storage_path": "a//b"}, "storage_path", "storage_path_segment"),
    ({"storage_path": "a/./b"}, "storage_path", "storage_path_segment"),
    ({"storage_path": "a/"}, "storage_path", "storage_path_segment"),
    ({"storage_path": "a\\b"}, "storage_path", "storage_path_characters"),
    ({"storage_path": "%2e%2e/a"}, "storage_path", "storage_path_characters"),
    ({"storage_path": "a\u0000b"}, "storage_path", "storage_path_characters"),
    ({"storage_path": "a\n"}, "storage_path", "storage_path_characters"),
    ({"storage_path": "\ud800"}, "storage_path", None),
    ({"projectId": "x"}, "projectId", "unknown_field"),
    ({"job_id": "x"}, "job_id", "unknown_field"),
]


@pytest.mark.parametrize(("fields", "field", "code"), BAD_FIELDS)
async def test_bad_field(
    post: Make, store: Any, fields: dict[str, Any], field: Any, code: str
) -> None:
    body = json.dumps({"project_id": "proj-123", **fields})
    (error,) = errors_of(await post(content=body))
    assert error[0] == field
    assert code in (error[1], None)
    assert store.manifests == []


async def test_project_id_is_required(post: Make) -> None:
    assert errors_of(await post(content="{}")) == {("project_id", "required")}


async def test_every_error_is_told_at_once(post: Make) -> None:
    response = await post(project_id="a b", format=1, compress=0)
    assert {field for field, _ in errors_of(response)} == {"project_id", "format", "compress"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b'{"project_id": "proj-123"} {}',
        b'{"project_id": "other", "project_id": "proj-123"}',
        b'{"project_id": NaN}',
        b'{"project_id": -Infinity}',
        b'{"project_id": "\xff"}',
        b"\xef\xbb\xbf{}",
        '{"project_id": "proj-123"}'.encode("utf-16"),
        b"[" * 16000,
        b'{"a":' * 3200,
        b'{"project_id": ' + b"1" * 10000 + b"}",
    ],
)
async def test_malformed_json(post: Make, store: Any, body: Any) -> None:
    assert errors_of(await post(content=body)) == {("body", "malformed_body")}
    assert store.manifests == []


@pytest.mark.parametrize(
    "fields",
    [
        {"project_id": "hunter2 hunter2"},
        {"format": "hunter2"},
        {"compress": "hunter2"},
        {"compression": "hunter2"},
        {"notify_email": "hunter2"},
        {"storage_path": "/hunter2"},
        {"password": "hunter2"},
        {"a key with hunter2 in it": 1},
    ],
)
async def test_a_value_is_never_repeated(
    post: Make, caplog: pytest.LogCaptureFixture, fields: dict[str, Any]
) -> None:
    caplog.set_level("DEBUG")
    response = await post(**fields)
    assert response.status_code == 400
    assert "hunter2" not in response.text
    assert "hunter2" not in caplog.text


async def test_malformed_json_is_never_repeated(post: Make) -> None:
    assert "hunter2" not in (await post(content='{"project_id": hunter2}')).text


async def test_strange_names_of_unknown_fields(post: Make) -> None:
    response = await post(**{"<script>": 1})
    assert errors_of(response) == {("(unknown field)", "unknown_field")}
    response = await post(content=r'{"project_id": "proj-123", "\ud800": 1}')
    assert errors_of(response) == {("body", "not_unicode")}


async def test_thousands_of_errors_are_cut(post: Make) -> None:
    response = await post(**{f"field_{number}": 1 for number in range(500)})
    assert len(response.json()["errors"]) == 20


async def test_the_largest_body_is_accepted(post: Make) -> None:
    body = b'{"project_id": "proj-123"}'
    assert (await post(content=body + b" " * (16384 - len(body)))).status_code == 202


async def test_a_larger_body_is_not(post: Make, store: Any) -> None:
    body = b'{"project_id": "proj-123"}'
    response = await post(content=body + b" " * (16385 - len(body)))
    assert (response.status_code, response.json()["code"]) == (413, "body_too_large")
    assert store.manifests == []


async def test_a_body_without_a_length_is_not_read_to_its_end(post: Make) -> None:
    sent = 0

    async def endless() -> Any:
        nonlocal sent
        while True:
            sent += 4096
            yield b" " * 4096

    response = await post(content=endless())
    assert response.status_code == 413
    assert sent <= 16384 + 2 * 4096


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 202),
        ("APPLICATION/JSON; charset=utf-8", 202),
        ("application/merge-patch+json", 202),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("application/jsonp", 415),
        ("", 415),
    ],
)
async def test_content_type(
    client: httpx.AsyncClient, bearer: Make, content_type: Any, status: Any
) -> None:
    headers = {**bearer(), "Content-Type": content_type}
    response = await client.post(
        "/api/backup/export", content=b'{"project_id": "proj-123"}', headers=headers
    )
    assert response.status_code == status
