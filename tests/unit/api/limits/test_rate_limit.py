"""Ten a minute for each subject; 401 before 429 before 400."""

import time
from collections.abc import Callable
from typing import Any

import httpx
import limits
import pytest
from backupexport_api.limits.rate_limit import FixedWindow

Make = Callable[..., Any]

POST = "/api/backup/export"
BODY = {"project_id": "proj-123"}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A clock that stands still until `advance`."""
    # A whole number, so that sums of quarters are exact and no request is on the window's edge.
    now = float(int(time.time()))

    class Clock:
        def advance(self, seconds: Any) -> None:
            nonlocal now
            now += seconds

    monkeypatch.setattr(time, "time", lambda: now)
    return Clock()


def as_integers(response: httpx.Response) -> Any:
    names = [f"{prefix}-{end}" for prefix in ("RateLimit", "X-RateLimit") for end in ENDS]
    return {name: int(response.headers[name]) for name in names}


ENDS = ("Limit", "Remaining", "Reset")


async def test_the_eleventh_is_refused(client: httpx.AsyncClient, bearer: Make, clock: Any) -> None:
    headers = bearer()
    for number in range(10):
        response = await client.post(POST, json=BODY, headers=headers)
        assert response.status_code == 202
        assert as_integers(response)["RateLimit-Remaining"] == 9 - number
        assert as_integers(response)["RateLimit-Limit"] == 10
        clock.advance(1.25)
    response = await client.post(POST, json=BODY, headers=headers)
    assert (response.status_code, response.json()["code"]) == (429, "rate_limited")
    assert response.headers["Content-Type"] == "application/problem+json"
    assert as_integers(response)["X-RateLimit-Remaining"] == 0
    wait = int(response.headers["Retry-After"])
    assert wait == as_integers(response)["RateLimit-Reset"]
    assert wait == 48
    clock.advance(wait - 1.5)
    assert (await client.post(POST, json=BODY, headers=headers)).status_code == 429
    clock.advance(1.5)
    assert (await client.post(POST, json=BODY, headers=headers)).status_code == 202
    # The window moves: one request has left it, so one is allowed and no more.
    assert (await client.post(POST, json=BODY, headers=headers)).status_code == 429


async def test_each_subject_has_its_own(client: httpx.AsyncClient, bearer: Make) -> None:
    for _ in range(10):
        await client.post(POST, json=BODY, headers=bearer())
    # Another token of the same subject is no way around it.
    other_token = bearer(jti="other", projects=["proj-123"])
    assert (await client.post(POST, json=BODY, headers=other_token)).status_code == 429
    assert (await client.post(POST, json=BODY, headers=bearer(sub="bob"))).status_code == 202


@pytest.mark.parametrize(
    ("content", "content_type"),
    [("{", "application/json"), ("{}", "application/json"), ("x", "text/plain")],
)
async def test_invalid_bodies_count(
    client: httpx.AsyncClient, bearer: Make, content: Any, content_type: Any
) -> None:
    headers = {**bearer(), "Content-Type": content_type}
    first = await client.post(POST, content=content, headers=headers)
    assert first.status_code in (400, 415)
    assert as_integers(first)["RateLimit-Remaining"] == 9
    for _ in range(9):
        await client.post(POST, content=content, headers=headers)
    assert (await client.post(POST, content=content, headers=headers)).status_code == 429
    assert (await client.post(POST, json=BODY, headers=bearer())).status_code == 429


async def test_refused_tokens_don_t_count(client: httpx.AsyncClient, bearer: Make) -> None:
    for _ in range(15):
        response = await client.post(POST, content="{", headers={"Authorization": "Bearer x"})
        assert response.status_code == 401
    assert (await client.post(POST, json=BODY, headers=bearer())).status_code == 202


async def test_401_comes_before_429(client: httpx.AsyncClient, bearer: Make) -> None:
    for _ in range(11):
        await client.post(POST, json=BODY, headers=bearer())
    expired = bearer(exp=int(time.time()) - 60)
    assert (await client.post(POST, json=BODY, headers=expired)).status_code == 401


async def test_a_large_body_costs_a_request_too(client: httpx.AsyncClient, bearer: Make) -> None:
    headers = {**bearer(), "Content-Type": "application/json"}
    response = await client.post(POST, content=b" " * 20000, headers=headers)
    assert response.status_code == 413
    assert as_integers(response)["RateLimit-Remaining"] == 9


async def test_reading_has_its_own_limit(make_client: Make, bearer: Make) -> None:
    url = "/api/jobs/0b7cf3b6-6f2b-4c55-8f6c-0f6a3f0a7f10"
    async with make_client(EXPORT_RATE_LIMIT="1/minute", READ_RATE_LIMIT="3/minute") as client:
        await client.post(POST, json=BODY, headers=bearer())
        assert (await client.post(POST, json=BODY, headers=bearer())).status_code == 429
        for _ in range(3):
            assert (await client.get(url, headers=bearer())).status_code == 404
        refused = await client.get(url, headers=bearer())
        assert refused.status_code == 429
        assert as_integers(refused)["RateLimit-Limit"] == 3


async def test_two_apps_count_apart(make_client: Make, bearer: Make) -> None:
    async with make_client(EXPORT_RATE_LIMIT="1/minute") as one, make_client() as two:
        for client in (one, two):
            assert (await client.post(POST, json=BODY, headers=bearer())).status_code == 202


async def test_reads_are_counted_without_the_shared_storage(
    make_client: Make, bearer: Make
) -> None:
    """Nothing listens there, and nobody minds."""
    url = "/api/jobs/0b7cf3b6-6f2b-4c55-8f6c-0f6a3f0a7f10"
    settings = {"RATE_LIMIT_STORAGE_URL": "redis://127.0.0.1:1", "READ_RATE_LIMIT": "2/minute"}
    async with make_client(**settings) as client:
        answers = [await client.get(url, headers=bearer()) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [404, 404, 429]
    assert [as_integers(answer)["RateLimit-Remaining"] for answer in answers] == [1, 0, 0]


async def test_a_refused_read_may_come_again_when_it_says(
    make_client: Make, bearer: Make, clock: Any
) -> None:
    url = "/api/jobs/0b7cf3b6-6f2b-4c55-8f6c-0f6a3f0a7f10"
    async with make_client(READ_RATE_LIMIT="1/minute") as client:
        await client.get(url, headers=bearer())
        clock.advance(12.25)
        refused = await client.get(url, headers=bearer())
        assert refused.status_code == 429
        wait = int(refused.headers["Retry-After"])
        clock.advance(wait - 1.5)
        assert (await client.get(url, headers=bearer())).status_code == 429
        clock.advance(1.5)
        assert (await client.get(url, headers=bearer())).status_code == 404


async def test_refusals_are_told_of(make_client: Make, bearer: Make) -> None:
    told: list[str] = []
    async with make_client(EXPORT_RATE_LIMIT="1/minute", READ_RATE_LIMIT="1/minute") as client:
        client._transport.app.state.rate_limits.on_refused = told.append
        for _ in range(3):
            await client.get("/api/jobs/x", headers=bearer())
        assert told == ["read", "read"]
        for _ in range(2):
            await client.post(POST, json=BODY, headers=bearer())
    assert told == ["read", "read", "export"]


class SetClock:
    now = 100.0


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> SetClock:
    set_clock = SetClock()
    monkeypatch.setattr(time, "time", lambda: set_clock.now)
    return set_clock


def test_a_window_of_each_key(set_clock: SetClock) -> None:
    window = FixedWindow(limits.parse("2/minute"))
    assert window.hit("a") == (False, 1, 160.0)
    set_clock.now = 130.0
    assert window.hit("a") == (False, 0, 160.0)
    assert window.hit("b") == (False, 1, 190.0)
    assert window.hit("a") == (True, 0, 160.0)
    set_clock.now = 159.9
    assert window.hit("a") == (True, 0, 160.0)
    set_clock.now = 160.0
    assert window.hit("a") == (False, 1, 220.0)


def test_windows_that_are_over_are_forgotten_and_others_are_not(set_clock: SetClock) -> None:
    window = FixedWindow(limits.parse("1/minute"))
    for number in range(900):
        window.hit(f"old {number}")
    set_clock.now += 50
    for number in range(100):
        window.hit(f"young {number}")
    set_clock.now += 20
    window.hit("one more")
    assert len(window._windows) == 101
    assert window.hit("young 7")[0]
    assert not window.hit("old 7")[0]
