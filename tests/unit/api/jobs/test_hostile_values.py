"""Every hostile value is refused by name, repeated nowhere, and reaches nothing."""

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hostile_bodies import BODIES, HostileBody
from hostile_values import (
    CANARY,
    CASES,
    CASES_BY_HAND,
    EMAIL,
    MARK,
    ODD,
    PATTERN_FIELDS,
    PATTERNS,
    Hostile,
    Odd,
)

Make = Callable[..., Any]

# Shorter ones are part of words that an answer may well have.
_SHORTEST_TELLING = 6


@pytest.fixture(autouse=True)
def closed_store(store: Any) -> None:
    store.failure = AssertionError("a hostile value reached the store")


@pytest.fixture(autouse=True)
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Where a command in a value would leave its canary, if not where it says."""
    monkeypatch.chdir(tmp_path)
    yield
    assert list(tmp_path.iterdir()) == []
    assert not Path(f"/exports/{CANARY}").exists()


def texts_in(value: Any) -> Iterator[str]:
    """Every spelling in which an answer or a log could repeat `value`."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from texts_in(name)
            yield from texts_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts_in(item)
    elif isinstance(value, str):
        yield from (value, repr(value)[1:-1])
        yield from (
            json.dumps(value, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)
        )
    else:
        yield json.dumps(value)


def told(response: httpx.Response, caplog: pytest.LogCaptureFixture) -> str:
    """All that a client and a reader of the log learn."""
    ours = [record for record in caplog.records if record.name != "httpx"]
    logged = [f"{record.getMessage()} {vars(record)}" for record in ours]
    return "\n".join([response.text, str(response.headers), *logged, caplog.text])


def assert_problem(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert problem["status"] == status
    assert problem["request_id"] == response.headers["X-Request-ID"]
    return problem


def assert_repeated_nowhere(told: str, *values: Any) -> None:
    assert MARK not in told
    for value in values:
        for text in texts_in(value):
            if len(text) >= _SHORTEST_TELLING:
                assert text not in told


def test_there_are_enough_and_each_has_a_name_of_its_own() -> None:
    names = [*(c.id for c in CASES), *(body.id for body in BODIES), *(odd.id for odd in ODD)]
    assert len(names) == len(set(names))
    assert len(CASES_BY_HAND) >= 300
    values = [repr(case.fields) for case in CASES]
    assert len(values) == len(set(values))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
async def test_a_hostile_value_is_refused(
    post: Make, caplog: pytest.LogCaptureFixture, case: Hostile
) -> None:
    caplog.set_level(logging.DEBUG)
    response = await post(content=json.dumps(case.body).encode())
    problem = assert_problem(response, 400)
    assert problem["code"] == "invalid_request"
    assert [error["field"] for error in problem["errors"]] == [case.field]
    assert all(error["message"] and error["code"] for error in problem["errors"])
    assert_repeated_nowhere(told(response, caplog), *case.fields.values(), *case.hidden_names)


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.id)
async def test_a_hostile_body_is_refused(
    client: httpx.AsyncClient, bearer: Make, caplog: pytest.LogCaptureFixture, body: HostileBody
) -> None:
    caplog.set_level(logging.DEBUG)
    headers = {**bearer(), **body.headers}
    if body.content_type is not None:
        headers["Content-Type"] = body.content_type
    response = await client.post("/api/backup/export", content=body.content, headers=headers)
    problem = assert_problem(response, body.status)
    if body.status == 400:
        assert body.named in {error["field"] for error in problem["errors"]}
    text = told(response, caplog)
    assert_repeated_nowhere(text)
    assert "proj-123" not in text


@pytest.mark.parametrize("size", [16 * 1024 + 1, 10**9, 10**30])
async def test_a_body_is_refused_for_its_declared_size_before_it_is_read(
    client: httpx.AsyncClient, bearer: Make, size: int
) -> None:
    async def never_read() -> Any:
        raise AssertionError("read")
        yield b""

    headers = {**bearer(), "Content-Type": "application/json", "Content-Length": str(size)}
    request = client.build_request(
        "POST", "/api/backup/export", content=never_read(), headers=headers
    )
    assert_problem(await client.send(request), 413)


async def test_an_endless_body_is_not_read_to_its_end(post: Make) -> None:
    sent = 0

    async def endless() -> Any:
        nonlocal sent
        while True:
            sent += 1024
            yield b" " * 1024

    assert_problem(await post(content=endless()), 413)
    assert sent <= 18 * 1024


async def test_all_at_once(post: Make, caplog: pytest.LogCaptureFixture) -> None:
    fields = {
        "project_id": f"{MARK}\n",
        "format": f"sql{MARK}",
        "compress": f"true{MARK}",
        "storage_path": f"../{MARK}",
        "notify_email": f"{EMAIL}\r\nBcc: x",
    }
    response = await post(**fields)
    problem = assert_problem(response, 400)
    assert {error["field"] for error in problem["errors"]} == set(fields)
    assert_repeated_nowhere(told(response, caplog), *fields.values())


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: odd.id)
async def test_an_odd_value_is_stored_as_it_is(post: Make, store: Any, odd: Odd) -> None:
    store.failure = None
    store.projects.add(odd.project_id)
    response = await post(**odd.body)
    assert response.status_code == 202, response.text
    (manifest,) = store.manifests
    spec = manifest["spec"]
    assert spec["projectId"] == odd.project_id
    assert spec.get("storagePath") == odd.storage_path
    assert spec.get("notifyEmail") == odd.notify_email
    assert tuple(spec.get("excludeTables", ())) == odd.exclude_tables


@pytest.mark.parametrize("trick", PATTERNS)
@pytest.mark.parametrize("field", PATTERN_FIELDS)
async def test_hostile_patterns_are_refused(
    post: Make, caplog: pytest.LogCaptureFixture, field: str, trick: str
) -> None:
    caplog.set_level(logging.DEBUG)
    response = await post(content=json.dumps({"project_id": "p", field: PATTERNS[trick]}).encode())
    problem = assert_problem(response, 400)
    (error,) = problem["errors"]
    assert error["field"].partition(".")[0] == field
    assert error["message"]
    assert_repeated_nowhere(told(response, caplog), MARK)
