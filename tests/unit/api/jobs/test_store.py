"""The store over an API server that is played by a class: caches, misses, failures."""

import asyncio
import json
import queue
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import urllib3
from backupexport_api.auth.claims import ProjectAccess
from backupexport_api.jobs import store as store_module
from backupexport_api.jobs.cached_job import CachedJob
from backupexport_api.jobs.query import JobQuery
from backupexport_api.jobs.store import JobStore
from backupexport_api.kube import informer
from backupexport_api.kube.errors import StoreRefusedError, StoreUnavailableError
from backupexport_contract import names
from backupexport_contract.reasons import Phase

EXPORTS, TARGETS = names.EXPORT_PLURAL, names.TARGET_PLURAL
EVERYTHING = ProjectAccess(every_project=True)


class WatchResponse:
    """A response whose lines a test feeds; None ends it, an exception breaks it.

    Watch.stop shuts the socket of its connection down.
    """

    status = 200

    def __init__(self) -> None:
        self.lines: queue.Queue[Any] = queue.Queue()
        self.connection = self.sock = self

    def shutdown(self, _: int) -> None:
        self.close()

    def stream(self, **_: Any) -> Iterator[bytes]:
        while (line := self.lines.get()) is not None:
            if isinstance(line, Exception):
                raise line
            yield json.dumps(line).encode() + b"\n"

    def close(self) -> None:
        self.lines.put(None)

    release_conn = close


class FakeApi:
    """ListObjects and KubernetesObjects over dicts; `failure` makes every call raise it."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {EXPORTS: {}, TARGETS: {}}
        self.watches: dict[str, WatchResponse] = {}
        self.calls: list[tuple[Any, ...]] = []
        self.failure: Exception | None = None
        self.hangs = threading.Event()
        self.hangs.set()

    def _answer(self, *call: Any) -> None:
        self.calls.append(call)
        assert self.hangs.wait(60)
        if self.failure:
            raise self.failure

    def list_objects(self, plural: str, **options: Any) -> Any:
        self._answer("watch" if options.get("watch") else "list", plural, options)
        if options.get("watch"):
            self.watches[plural] = WatchResponse()
            return self.watches[plural]
        items = list(self.objects[plural].values())
        start, size = int(options.get("_continue", 0)), options["limit"]
        metadata = {"resourceVersion": "7"}
        if start + size < len(items):
            metadata["continue"] = str(start + size)
        return {"items": items[start : start + size], "metadata": metadata}

    async def _wait(self, *call: Any) -> None:
        self.calls.append(call)
        while not self.hangs.is_set():
            await asyncio.sleep(0.01)
        if self.failure:
            raise self.failure

    async def are_there(self, plural: str, field_selector: str | None = None) -> bool:
        await self._wait("list", plural, {"field_selector": field_selector})
        projects = {item["spec"]["projectId"] for item in self.objects[plural].values()}
        return bool(projects) and (
            field_selector is None or field_selector.removeprefix("spec.projectId=") in projects
        )

    async def get(self, plural: str, name: str) -> dict[str, Any] | None:
        await self._wait("get", plural, name)
        return self.objects[plural].get(name)

    async def create(self, plural: str, manifest: dict[str, Any]) -> dict[str, Any] | None:
        await self._wait("create", plural, manifest)
        name = manifest["metadata"]["name"]
        return None if name in self.objects[plural] else stored(plural, name, manifest["spec"])

    async def patch(self, plural: str, name: str, patch: dict[str, Any]) -> dict[str, Any] | None:
        await self._wait("patch", plural, name, patch)
        found = self.objects[plural].get(name)
        return found and {**found, "spec": {**found["spec"], **patch["spec"]}}

    def put(self, plural: str, item: dict[str, Any], event: str | None = None) -> None:
        self.objects[plural][item["metadata"]["name"]] = item
        if event:
            self.watches[plural].lines.put({"type": event, "object": item})

    def count(self, verb: str) -> int:
        return sum(call[0] == verb for call in self.calls)


def stored(plural: str, name: str, spec: dict[str, Any], **status: Any) -> dict[str, Any]:
    return {
        "kind": plural,
        "metadata": {
            "name": name,
            "namespace": "exports",
            "uid": str(uuid.uuid5(uuid.NAMESPACE_URL, name)),
            "resourceVersion": "8",
            "creationTimestamp": "2026-01-29T15:30:00Z",
            "managedFields": [{"manager": "kubectl"}],
        },
        "spec": spec,
        "status": status,
    }


def export(name: str, **status: Any) -> dict[str, Any]:
    return stored(EXPORTS, name, {"projectId": "proj-123"}, **status)


def target(name: str, project_id: str) -> dict[str, Any]:
    return stored(TARGETS, name, {"projectId": project_id, "secretRef": {"name": "pg"}})


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> FakeApi:
    monkeypatch.setattr(informer, "_SHORTEST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(informer, "_LONGEST_PAUSE_SECONDS", 0.02)
    return FakeApi()


@pytest.fixture
def short_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """For what hangs: who does not is given the product's own time."""
    monkeypatch.setattr(store_module, "_CALL_SECONDS", 0.2)
    monkeypatch.setattr(store_module, "_LOOK_UP_SECONDS", 0.1)


@pytest.fixture
def store(api: FakeApi) -> JobStore:
    return JobStore(api.list_objects, api)  # type: ignore[arg-type]


@pytest.fixture
def started(store: JobStore, api: FakeApi) -> Iterator[Callable[[], None]]:
    """Start the store and wait until both caches are filled."""

    def start() -> None:
        store.start()
        until(lambda: len(api.watches) == 2)

    yield start
    api.failure = None
    api.hangs.set()
    store.stop()


JOB = "0b7cf3b6-6f2b-4c55-8f6c-0f6a3f0a7f10"


async def test_a_job_from_the_cache_costs_no_call(
    store: JobStore, api: FakeApi, started: Callable[[], None]
) -> None:
    api.put(EXPORTS, export(JOB, phase="Running"))
    started()
    for _ in range(3):
        found = await store.find_job(JOB, EVERYTHING)
        assert found is not None
        assert found.phase == "Running"
    assert api.count("get") == 0


async def test_events_change_the_cache(
    store: JobStore, api: FakeApi, started: Callable[[], None]
) -> None:
    started()
    api.put(EXPORTS, export(JOB), "ADDED")
    until(lambda: store._index.get(JOB))
    api.put(EXPORTS, export(JOB, phase="Succeeded"), "MODIFIED")
    until(lambda: (cached := store._index.get(JOB)) and cached.phase == "Succeeded")
    del api.objects[EXPORTS][JOB]
    api.watches[EXPORTS].lines.put({"type": "DELETED", "object": export(JOB)})
    until(lambda: store._index.get(JOB) is None)
    assert await store.find_job(JOB, EVERYTHING) is None


async def test_a_job_of_another_replica_is_found_at_once(
    store: JobStore, api: FakeApi, started: Callable[[], None]
) -> None:
    started()
    assert await store.find_job(JOB, EVERYTHING) is None
    api.put(EXPORTS, export(JOB))
    assert (await store.find_job(JOB, EVERYTHING)) is not None, "the miss was remembered"


@pytest.mark.parametrize("event", [None, "ADDED"])
async def test_a_job_made_with_kubectl_is_found_by_its_uid(
    store: JobStore, api: FakeApi, started: Callable[[], None], event: str | None
) -> None:
    item = export("nightly")
    if event is None:
        api.put(EXPORTS, item)
    started()
    if event is not None:
        api.put(EXPORTS, item, event)
    until(lambda: store._index.get(item["metadata"]["uid"]))
    found = await store.find_job(item["metadata"]["uid"], EVERYTHING)
    assert found is not None
    assert found.name == "nightly"


async def test_a_namesake_of_a_deleted_job_is_another_job(
    store: JobStore, api: FakeApi, started: Callable[[], None]
) -> None:
    old, new = export("nightly"), export("nightly")
    new["metadata"]["uid"] = str(uuid.uuid4())
    api.put(EXPORTS, old)
    started()
    api.put(EXPORTS, new, "ADDED")
    until(lambda: store._index.get(new["metadata"]["uid"]))
    assert await store.find_job(old["metadata"]["uid"], EVERYTHING) is None
    assert await store.find_job(new["metadata"]["uid"], EVERYTHING) is not None


async def test_a_uuid_name_does_not_answer_to_its_uid(
    store: JobStore, api: FakeApi, started: Callable[[], None]
) -> None:
    item = export(JOB)
    api.put(EXPORTS, item)
    started()
    assert await store.find_job(item["metadata"]["uid"], EVERYTHING) is None


async def test_a_list_is_read_page_by_page(
    store: JobStore,
    api: FakeApi,
    started: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(informer, "_PAGE", 2)
    ids = [str(uuid.uuid4()) for _ in range(5)]
    for job_id in ids:
        api.put(EXPORTS, export(job_id))
    started()
    assert all(store._index.get(job_id) for job_id in ids)
    assert sum(call[:2] == ("list", EXPORTS) for call in api.calls) == 3


async def test_projects(store: JobStore, api: FakeApi, started: Callable[[], None]) -> None:
    api.put(TARGETS, target("one", "proj-123"))
    started()
    calls = len(api.calls)
    assert await store.project_exists("proj-123")
    assert len(api.calls) == calls
    assert not await store.project_exists("nobody")
    assert api.calls[-1][2]["field_selector"] == "spec.projectId=nobody"
    assert len(api.calls) == calls + 1
    api.put(TARGETS, target("two", "just-made"))
    assert await store.project_exists("just-made")


@pytest.mark.parametrize(
    ("encryption", "wants"),
    [
        (None, False),
        ({}, False),
        ({"required": True}, True),
        ({"required": True, "recipients": []}, True),
        ({"required": True, "recipients": ["age1"]}, False),
        ({"required": False}, False),
    ],
)
async def test_whether_a_project_wants_a_recipient(
    store: JobStore, api: FakeApi, started: Callable[[], None], encryption: Any, wants: bool
) -> None:
    older, newer = target("z", "p"), target("a", "p")
    older["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    newer["metadata"]["creationTimestamp"] = "2026-01-02T00:00:00Z"
    older["spec"]["encryption"], newer["spec"]["encryption"] = encryption, {"required": not wants}
    api.put(TARGETS, newer)
    api.put(TARGETS, older)
    started()
    assert store.wants_recipient("p") == wants
    assert not store.wants_recipient("nobody")


def listed(found: tuple[list[Any], bool]) -> list[tuple[str, str | None]]:
    return [(each.project_id, newest and newest.job_id) for each, newest in found[0]]


async def test_projects_are_listed_from_the_caches_alone(
    store: JobStore, api: FakeApi, started: Callable[[], None]
) -> None:
    jobs = [export(str(uuid.uuid4())) for _ in range(2)]
    for number, job in enumerate(jobs):
        job["metadata"]["creationTimestamp"] = f"2026-01-29T15:30:0{number}Z"
        api.put(EXPORTS, job)
    api.put(TARGETS, target("one", "proj-123"))
    api.put(TARGETS, target("two", "other"))
    started()
    calls = len(api.calls)
    older, newest = (job["metadata"]["name"] for job in jobs)
    whole = [("other", None), ("proj-123", newest)]
    assert listed(await store.list_projects("", 50, EVERYTHING)) == whole
    one = await store.list_projects("", 1, EVERYTHING)
    assert (listed(one), one[1]) == (whole[:1], True)
    assert listed(await store.list_projects("other", 1, EVERYTHING)) == whole[1:]
    only = ProjectAccess(project_ids=frozenset({"proj-123", "nobody"}))
    assert listed(await store.list_projects("", 50, only)) == whole[1:]
    assert len(api.calls) == calls
    del api.objects[EXPORTS][newest]
    api.watches[EXPORTS].lines.put({"type": "DELETED", "object": jobs[1]})
    until(lambda: store._index.get(newest) is None)
    assert listed(await store.list_projects("", 50, only)) == [("proj-123", older)]
    api.watches[TARGETS].lines.put({"type": "DELETED", "object": target("one", "proj-123")})
    until(lambda: store._target_index.serving("proj-123") is None)
    assert listed(await store.list_projects("", 50, EVERYTHING)) == whole[:1]


@pytest.mark.parametrize("missing", [EXPORTS, TARGETS])
async def test_no_list_of_projects_is_told_before_both_caches_are_filled(
    store: JobStore, api: FakeApi, missing: str
) -> None:
    (store._targets if missing == EXPORTS else store._exports).is_synced = True
    with pytest.raises(StoreUnavailableError, match="not synced"):
        await store.list_projects("", 50, EVERYTHING)


async def test_an_object_of_a_newer_version_stops_nobody(
    store: JobStore,
    api: FakeApi,
    started: Callable[[], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    strange = str(uuid.uuid4())
    api.put(EXPORTS, export(strange, phase="Hibernating"))
    api.put(EXPORTS, export(JOB))
    started()
    assert await store.find_job(JOB, EVERYTHING) is not None
    with pytest.raises(StoreRefusedError):
        await store.find_job(strange, EVERYTHING)
    assert f"can't read backupexports {strange}" in caplog.text


async def test_a_broken_watch_is_resumed_without_stack_traces(
    store: JobStore,
    api: FakeApi,
    started: Callable[[], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    started()
    lists = api.count("list")
    first = api.watches[EXPORTS]
    api.failure = urllib3.exceptions.ProtocolError("down")
    first.lines.put(urllib3.exceptions.ReadTimeoutError(None, "/", "silence"))  # type: ignore[arg-type]
    until(lambda: caplog.text.count("ProtocolError: down") >= 3)
    api.failure = None
    until(lambda: api.watches[EXPORTS] is not first)
    assert api.calls[-1][2]["resource_version"] == "7"
    assert api.count("list") == lists
    api.put(EXPORTS, export(JOB), "ADDED")
    until(lambda: store._index.get(JOB))
    assert "Traceback" not in caplog.text
    assert "ReadTimeoutError" in caplog.text


async def test_an_event_moves_the_watch_on(
    store: JobStore, api: FakeApi, started: Callable[[], None]
) -> None:
    started()
    first = api.watches[EXPORTS]
    for version, item in (("41", export(JOB)), ("42", export("new", phase="Hibernating"))):
        item["metadata"]["resourceVersion"] = version
        api.put(EXPORTS, item, "ADDED")
    first.lines.put(None)
    until(lambda: api.watches[EXPORTS] is not first)
    assert api.calls[-1][2]["resource_version"] == "42"


async def test_a_bookmark_moves_the_watch_on(
    store: JobStore, api: FakeApi, started: Callable[[], None]
) -> None:
    started()
    first = api.watches[EXPORTS]
    bookmark = {"metadata": {"resourceVersion": "99"}}
    first.lines.put({"type": "BOOKMARK", "object": bookmark})
    first.lines.put(None)
    until(lambda: api.watches[EXPORTS] is not first)
    (call,) = [call for call in api.calls if call[2].get("resource_version") == "99"]
    assert call[2]["allow_watch_bookmarks"] is True


async def test_an_expired_watch_lists_again(
    store: JobStore, api: FakeApi, started: Callable[[], None]
) -> None:
    started()
    first = api.watches[EXPORTS]
    api.put(EXPORTS, export(JOB))
    gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
    first.lines.put({"type": "ERROR", "object": gone})
    until(lambda: api.watches[EXPORTS] is not first)
    api.watches[EXPORTS].lines.put({"type": "ERROR", "object": gone})
    until(lambda: store._index.get(JOB))


async def test_before_the_first_list(store: JobStore, api: FakeApi) -> None:
    assert len(await store.unready(with_kubernetes=True)) == 2
    with pytest.raises(StoreUnavailableError):
        await store.find_job(JOB, EVERYTHING)
    api.put(EXPORTS, export(JOB))
    assert await store.find_job(JOB, EVERYTHING) is not None


async def test_ready(
    store: JobStore,
    api: FakeApi,
    started: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started()
    assert await store.unready(with_kubernetes=True) == []
    api.failure = OSError("down")
    # An answer serves everybody for a second.
    await asyncio.sleep(1)
    assert await store.unready(with_kubernetes=True) == ["the Kubernetes API does not answer"]
    api.failure = None
    await asyncio.sleep(1)
    monkeypatch.setattr(store_module, "_STALE_SECONDS", -1.0)
    assert all("has heard nothing" in line for line in await store.unready(with_kubernetes=True))


@pytest.mark.parametrize("is_down", [False, True])
async def test_a_flood_of_probes_asks_the_kubernetes_api_once(
    store: JobStore, api: FakeApi, started: Callable[[], None], is_down: bool
) -> None:
    started()
    api.failure = OSError("down") if is_down else None
    before = len(api.calls)
    asked = [store.unready(with_kubernetes=True) for _ in range(200)]
    answers = [*await asyncio.gather(*asked), await store.unready(with_kubernetes=True)]
    assert all(bool(answer) == is_down for answer in answers)
    assert len(api.calls) - before == 1


@pytest.mark.usefixtures("short_calls")
async def test_an_api_server_that_hangs(
    store: JobStore, api: FakeApi, started: Callable[[], None]
) -> None:
    started()
    api.hangs.clear()
    with pytest.raises(StoreUnavailableError) as created:
        await store.create_job({"metadata": {"name": JOB}, "spec": {"projectId": "proj-123"}})
    with pytest.raises(StoreUnavailableError):
        await store.find_job(JOB, EVERYTHING)
    assert "not known whether" in created.value.detail


@pytest.mark.parametrize("in_cache", [True, False])
async def test_a_hidden_job_costs_as_much_as_one_that_does_not_exist(
    store: JobStore, api: FakeApi, started: Callable[[], None], in_cache: bool
) -> None:
    if in_cache:
        api.put(EXPORTS, export(JOB, phase="Running"))
    started()
    api.put(EXPORTS, export(JOB, phase="Running"))
    stranger = ProjectAccess(project_ids=frozenset({"another"}))
    api.calls.clear()
    assert await store.find_job(JOB, stranger) is None
    hidden = list(api.calls)
    api.calls.clear()
    assert await store.find_job(str(uuid.uuid4()), stranger) is None
    missing = list(api.calls)
    assert [call[:2] for call in hidden] == [call[:2] for call in missing] == [("get", EXPORTS)]
    assert await store.find_job(JOB, EVERYTHING) is not None


async def test_an_unreadable_job_of_another_project_is_not_there(
    store: JobStore, api: FakeApi, started: Callable[[], None]
) -> None:
    api.put(EXPORTS, export(JOB, phase="Hibernating"))
    started()
    assert await store.find_job(JOB, ProjectAccess(project_ids=frozenset({"another"}))) is None


async def test_a_list_comes_from_the_cache(
    store: JobStore, api: FakeApi, started: Callable[[], None]
) -> None:
    with pytest.raises(StoreUnavailableError):
        await store.list_jobs(JobQuery(), EVERYTHING)
    api.put(EXPORTS, export(JOB))
    started()
    until(lambda: store._index.get(JOB))
    api.calls.clear()
    jobs, has_more = await store.list_jobs(JobQuery(), EVERYTHING)
    assert ([job.job_id for job in jobs], has_more) == ([JOB], False)
    assert store.count_by_phase()[Phase.PENDING] == 1
    assert api.calls == []


async def test_a_name_that_is_taken(
    store: JobStore, api: FakeApi, started: Callable[[], None]
) -> None:
    started()
    manifest = {"metadata": {"name": JOB}, "spec": {"projectId": "proj-123"}}
    assert (await store.create_job(manifest)).is_new
    api.put(EXPORTS, export(JOB, phase="Running"))
    again = await store.create_job(manifest)
    assert not again.is_new
    assert again.export.phase == "Running"


async def test_cancel(store: JobStore, api: FakeApi, started: Callable[[], None]) -> None:
    started()
    item = export(JOB, phase="Running")
    job = CachedJob.of(item)
    assert await store.cancel_job(job) is None
    api.put(EXPORTS, item)
    cancelled = await store.cancel_job(job)
    assert cancelled is not None
    assert cancelled.cancel_requested
    assert api.calls[-1] == (
        "patch",
        EXPORTS,
        JOB,
        {"metadata": {"uid": job.uid}, "spec": {"cancel": True}},
    )


@pytest.mark.usefixtures("short_calls")
async def test_calls_are_observed(
    api: FakeApi, started: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    observed: list[tuple[str, str]] = []
    store = JobStore(
        api.list_objects,
        api,  # type: ignore[arg-type]
        lambda verb, outcome, seconds: observed.append((verb, outcome)),
    )
    await store.find_export(JOB)
    api.failure = OSError("down")
    with pytest.raises(StoreUnavailableError):
        await store.cancel_job(CachedJob.of(export(JOB)))
    api.failure = None
    api.hangs.clear()
    with pytest.raises(StoreUnavailableError):
        await store.project_exists("p")
    api.hangs.set()
    assert observed == [("get", "ok"), ("patch", "error"), ("list", "timeout")]


async def test_a_stale_cache_serves_on_while_the_kubernetes_api_is_left_out(
    store: JobStore,
    api: FakeApi,
    started: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started()
    monkeypatch.setattr(store_module, "_STALE_SECONDS", -1.0)
    assert await store.unready(with_kubernetes=False) == []
    assert any("has heard nothing" in line for line in await store.unready(with_kubernetes=True))


async def test_an_unsynced_cache_is_never_ready(store: JobStore) -> None:
    assert len(await store.unready(with_kubernetes=False)) == 2


async def test_before_the_first_list_a_hidden_job_is_as_unknown_as_a_missing_one(
    store: JobStore, api: FakeApi
) -> None:
    api.put(EXPORTS, export(JOB))
    stranger = ProjectAccess(project_ids=frozenset({"another"}))
    for job_id in (JOB, str(uuid.uuid4())):
        with pytest.raises(StoreUnavailableError):
            await store.find_job(job_id, stranger)
