"""The limit goes on in memory while its storage is away, and together when it is back."""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from backupexport_api.auth import secret_files
from backupexport_api.limits import storage as storage_module
from backupexport_api.limits.storage import ExportMemory, SharedExportStorage
from limits.errors import ConfigurationError
from redis_stand_in import RedisStandIn

Make = Callable[..., Any]

POST = "/api/backup/export"
BODY = {"project_id": "proj-123"}
TIMEOUT_SECONDS = storage_module._TIMEOUT_SECONDS


@pytest.fixture
def stand_in() -> RedisStandIn:
    return RedisStandIn()


@pytest.fixture
def storage(stand_in: RedisStandIn) -> SharedExportStorage:
    return SharedExportStorage(SharedExportStorage.URI, shared_url=stand_in.url)


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look again at once, unless a test says otherwise."""
    monkeypatch.setattr(storage_module, "_PAUSE_SECONDS", 0)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A storage that is there is waited for, however slow this machine is."""
    monkeypatch.setattr(storage_module, "_TIMEOUT_SECONDS", 60)


@pytest.fixture
def hanging(stand_in: RedisStandIn, monkeypatch: pytest.MonkeyPatch) -> SharedExportStorage:
    """One that waits long enough for what comes before the hang, and no longer."""
    monkeypatch.setattr(storage_module, "_TIMEOUT_SECONDS", 1.5)
    return SharedExportStorage(SharedExportStorage.URI, shared_url=stand_in.url)


def count(storage: SharedExportStorage, limit: int = 2) -> bool:
    return storage.acquire_entry("key", limit, 60)


def left(storage: SharedExportStorage, limit: int = 2) -> int:
    return limit - storage.get_moving_window("key", limit, 60)[1]


def test_counting_is_shared_while_the_storage_is_there(
    stand_in: RedisStandIn, storage: SharedExportStorage
) -> None:
    with stand_in.listening() as server:
        # Somebody else's.
        server.counted = 5
        assert count(storage, 10)
        assert left(storage, 10) == 4


def test_a_storage_that_is_away_at_the_start_changes_nothing(storage: SharedExportStorage) -> None:
    assert [count(storage) for _ in range(3)] == [True, True, False]
    assert left(storage) == 0


def test_losing_the_storage_is_no_fresh_start(
    stand_in: RedisStandIn, storage: SharedExportStorage
) -> None:
    with stand_in.listening():
        assert count(storage)
    assert [count(storage) for _ in range(2)] == [True, False]


def test_it_counts_together_again_when_the_storage_is_back(
    stand_in: RedisStandIn, storage: SharedExportStorage, caplog: pytest.LogCaptureFixture
) -> None:
    with stand_in.listening():
        count(storage, 10)
    for _ in range(3):
        count(storage, 10)
    with stand_in.listening() as server:
        for _ in range(3):
            assert count(storage, 10)
        assert server.counted == 3
        assert left(storage, 10) == 7
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(lines) == 2
    assert "is away (ConnectionError)" in lines[0]
    assert "is back" in lines[1]
    assert "a-password" not in caplog.text
    assert str(stand_in.port) not in caplog.text


def test_a_dropped_connection_is_replaced_unnoticed(
    stand_in: RedisStandIn, storage: SharedExportStorage, caplog: pytest.LogCaptureFixture
) -> None:
    """As after a restart of the storage between two requests."""
    for _ in range(2):
        with stand_in.listening() as server:
            assert count(storage, 10)
            assert server.counted == 1
    assert not caplog.records


@pytest.mark.parametrize("hangs_at", ["AUTH", "EVALSHA"])
def test_a_storage_that_hangs_costs_little_and_only_once_a_pause(
    stand_in: RedisStandIn,
    hanging: SharedExportStorage,
    monkeypatch: pytest.MonkeyPatch,
    hangs_at: str,
) -> None:
    assert TIMEOUT_SECONDS <= 0.25
    monkeypatch.setattr(storage_module, "_PAUSE_SECONDS", 60)
    with stand_in.listening(hangs_at=hangs_at) as server:
        assert count(hanging, 100)
        asked = len(server.commands)
        for _ in range(20):
            assert count(hanging, 100)
        assert left(hanging, 100) == 79
        # Nobody else has waited: each who does asks first.
        assert len(server.commands) == asked
        assert server.commands.count(hangs_at) == 1


def test_requests_that_fail_together_all_fall_back_and_one_looks_again(
    stand_in: RedisStandIn,
    hanging: SharedExportStorage,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(storage_module, "_PAUSE_SECONDS", 60)
    counted: list[bool] = []

    def count_together() -> None:
        threads = [
            threading.Thread(target=lambda: counted.append(count(hanging, 100))) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    with stand_in.listening(hangs_at="AUTH") as server:
        count_together()
        assert 1 <= len(server.commands) <= 8
        server.commands.clear()
        hanging._look_again_at = 0
        count_together()
        assert len(server.commands) == 1
    assert counted == [True] * 16
    assert len(caplog.records) == 1


async def test_the_api_serves_without_its_storage(
    make_client: Make, bearer: Make, stand_in: RedisStandIn
) -> None:
    async with make_client(
        EXPORT_RATE_LIMIT="2/minute", RATE_LIMIT_STORAGE_URL=stand_in.url
    ) as client:

        async def post() -> Any:
            return await client.post(POST, json=BODY, headers=bearer())

        with stand_in.listening():
            first = await post()
        answers = [first, await post(), await post()]
    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert [answer.headers["RateLimit-Remaining"] for answer in answers] == ["1", "0", "0"]


@pytest.mark.parametrize(
    "url", ["", "no url", "mongodb://h", "memcached://h:1", "valkey://h", "redis://u:a-secret@h:x"]
)
def test_a_url_that_can_t_be_used_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        SharedExportStorage(SharedExportStorage.URI, shared_url=url)
    assert "redis://" in str(refused.value)
    assert "a-secret" not in str(refused.value)


def test_the_memory_starts_one_thread_a_minute_and_forgets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    memory = ExportMemory(ExportMemory.URI)
    memory.timer.join()
    now = time.time()
    started: list[threading.Timer] = []
    monkeypatch.setattr(time, "time", lambda: now)
    monkeypatch.setattr(threading.Timer, "start", lambda timer: started.insert(0, timer))
    monkeypatch.setattr(threading.Timer, "is_alive", lambda timer: timer in started)
    for number in range(900):
        assert memory.acquire_entry(f"old {number}", 2, 60)
    now += 50
    for number in range(100):
        assert memory.acquire_entry(f"young {number}", 2, 60)
    now += 20
    assert memory.acquire_entry("one more", 2, 60)
    (timer,) = started
    assert (timer.interval, timer.daemon) == (60, True)
    timer.function()
    assert len(memory.events) == len(memory.locks) == 101
    assert memory.get_moving_window("young 7", 2, 60)[1] == 1
    started.clear()
    assert memory.acquire_entry("the next", 2, 60)
    assert len(started) == 1


def test_a_busy_key_keeps_no_more_than_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = ExportMemory(ExportMemory.URI)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    for _ in range(50):
        now += 31
        assert memory.acquire_entry("key", 2, 60)
    assert len(memory.events["key"]) == 2
    assert not memory.acquire_entry("key", 2, 60)


def test_a_storage_whose_password_has_changed_is_found_by_its_new_url(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secret_files, "LOOK_AGAIN_SECONDS", 0)
    before, now = RedisStandIn(), RedisStandIn()
    file = tmp_path / "url"
    file.write_text(before.url + "\n")
    storage = SharedExportStorage(
        SharedExportStorage.URI, shared_url=before.url, shared_url_file=file
    )
    with before.listening() as server:
        server.counted = 5
        assert left(storage, 10) == 5
    file.write_text(now.url)
    with now.listening() as server:
        server.counted = 7
        assert count(storage, 10)
        assert left(storage, 10) == 2
    file.write_text("no url at all")
    with now.listening():
        assert count(storage, 10)
