"""The store of jobs over a Kubernetes API that refuses, forgets and cuts as the real one does."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import builders
import pytest
from backupexport_api.auth.claims import ProjectAccess
from backupexport_api.jobs.link_state import LinkState
from backupexport_api.jobs.store import JobStore
from backupexport_api.kube import informer
from backupexport_api.kube.client import KubernetesObjects, connect_lists
from backupexport_api.kube.errors import StoreRefusedError, StoreUnavailableError
from backupexport_contract.backup_export import CANCEL_BEFORE_THE_END
from backupexport_contract.reasons import Phase
from fake_kubernetes.faults import Fault
from fake_kubernetes.server import CUT, END, GONE, NAMESPACE, FakeKubernetes
from waiting import until

EXPORTS, TARGETS = "backupexports", "exporttargets"
EVERYTHING = ProjectAccess(every_project=True)
JOB = "0b7cf3b6-6f2b-4c55-8f6c-0f6a3f0a7f10"


@pytest.fixture
async def store(
    kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[JobStore]:
    """A store, not yet started, as a replica connects."""
    monkeypatch.setattr(informer, "_SHORTEST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(informer, "_LONGEST_PAUSE_SECONDS", 0.02)
    objects = await KubernetesObjects.connect(NAMESPACE)
    made = JobStore(connect_lists(NAMESPACE), objects)
    yield made
    await asyncio.to_thread(made.stop)
    await made.close()


@pytest.fixture
async def started(kubernetes: FakeKubernetes, store: JobStore) -> AsyncIterator[JobStore]:
    """The same with full caches."""

    def watches() -> bool:
        return kubernetes.watching(EXPORTS) == kubernetes.watching(TARGETS) == 1

    store.start()
    await until(watches)
    yield store
    # The library's informer can't be stopped at once while it is about to watch.
    await until(watches)


def export(name: str = JOB, **metadata: Any) -> dict[str, Any]:
    return builders.export_manifest(name, uid=str(uuid.uuid4()), **metadata)


def known(store: JobStore, name: str = JOB) -> bool:
    return store.known_job(name) is not None


async def test_the_cache_follows_the_watch(kubernetes: FakeKubernetes, started: JobStore) -> None:
    kubernetes.seed(EXPORTS, export())
    await until(lambda: known(started))
    kubernetes.change(EXPORTS, JOB, {"status": {"phase": "Running"}})
    await until(lambda: (job := started.known_job(JOB)) is not None and job.phase == "Running")
    kubernetes.remove(EXPORTS, JOB)
    await until(lambda: not known(started))
    assert [str(call) for call in kubernetes.calls].count("list backupexports") == 1


@pytest.mark.parametrize("end", [END, CUT, GONE], ids=["end", "cut", "gone"])
async def test_whatever_ends_the_watch_nothing_is_missed(
    kubernetes: FakeKubernetes, started: JobStore, end: bytes
) -> None:
    kubernetes.seed(EXPORTS, export())
    await until(lambda: known(started))
    held = Fault("(list|watch) backupexports", is_held=True)
    kubernetes.faults.append(held)
    kubernetes.tell_watches(EXPORTS, end)
    await until(lambda: held.met == 1)
    # Of this no watch tells any more.
    other = str(uuid.uuid4())
    kubernetes.remove(EXPORTS, JOB)
    kubernetes.seed(EXPORTS, export(other))
    kubernetes.compact()
    held.release()
    await until(lambda: known(started, other) and not known(started))


async def test_a_bookmark_is_a_sign_of_life(kubernetes: FakeKubernetes, started: JobStore) -> None:
    def age() -> float:
        (exports,) = [it for it in started.cache_states() if it.resource == EXPORTS]
        return exports.age_seconds

    before = age()
    await until(lambda: age() > before + 0.05)
    old = age()
    kubernetes.send_bookmarks(EXPORTS)
    await until(lambda: age() < old)


LOST_ANSWERS: list[dict[str, Any]] = [{"status": 504}, {"status": 500}, {"is_cut": True}]


@pytest.mark.parametrize("fault", LOST_ANSWERS)
async def test_a_job_that_was_stored_though_the_answer_was_lost_is_accepted(
    kubernetes: FakeKubernetes, started: JobStore, fault: dict[str, Any]
) -> None:
    kubernetes.faults.append(Fault("create backupexports", is_stored=True, **fault))
    made = await started.create_job(export(annotations={"made": "now"}))
    assert made.is_new
    assert made.export.metadata.uid == kubernetes.objects(EXPORTS)[JOB]["metadata"]["uid"]


@pytest.mark.parametrize("fault", LOST_ANSWERS)
async def test_a_job_of_which_nobody_knows_is_said_to_be_so_and_is_there_at_the_next_try(
    kubernetes: FakeKubernetes, started: JobStore, fault: dict[str, Any]
) -> None:
    kubernetes.faults.append(Fault("create backupexports", is_stored=True, **fault))
    kubernetes.faults.append(Fault("get backupexports", status=503))
    manifest = export()
    with pytest.raises(StoreUnavailableError) as unknown:
        await started.create_job(manifest)
    assert "not known whether" in unknown.value.detail
    again = await started.create_job(manifest)
    assert not again.is_new
    stored = kubernetes.objects(EXPORTS)[JOB]
    assert again.export.metadata.uid == stored["metadata"]["uid"]


async def test_a_job_that_another_request_made_with_the_key_is_not_taken_for_ones_own(
    kubernetes: FakeKubernetes, started: JobStore
) -> None:
    kubernetes.seed(EXPORTS, export(annotations={"made": "before"}))
    kubernetes.faults.append(Fault("create backupexports", status=504))
    with pytest.raises(StoreUnavailableError):
        await started.create_job(export(annotations={"made": "now"}))


async def test_a_cancel_is_for_this_very_job(kubernetes: FakeKubernetes, started: JobStore) -> None:
    """Another project's has taken its name, of which the cache has not heard yet."""
    kubernetes.seed(EXPORTS, export())
    await until(lambda: known(started))
    job = started.known_job(JOB)
    assert job is not None
    kubernetes.remove(EXPORTS, JOB)
    kubernetes.seed(EXPORTS, export())
    assert await started.cancel_job(job) is None
    assert "cancel" not in kubernetes.objects(EXPORTS)[JOB]["spec"]
    there = await started.find_job(JOB, EVERYTHING)
    assert there is not None


async def test_a_cancel_reaches_the_job(kubernetes: FakeKubernetes, started: JobStore) -> None:
    kubernetes.seed(EXPORTS, export())
    await until(lambda: known(started))
    job = started.known_job(JOB)
    assert job is not None
    assert await started.cancel_job(job) is not None
    assert kubernetes.objects(EXPORTS)[JOB]["spec"]["cancel"] is True
    kubernetes.remove(EXPORTS, JOB)
    assert await started.cancel_job(job) is None


def refused_by(message: str) -> Fault:
    """What the CRD's rules answer; of those of the whole object the field is not named."""
    why = f"Invalid value: {message}"
    cause = {"reason": "FieldValueInvalid", "message": why, "field": "<nil>"}
    details = {"name": JOB, "group": "backupexport.dev", "causes": [cause]}
    return Fault("patch backupexports", status=422, message=f"invalid: {why}", details=details)


async def test_a_cancel_of_a_job_that_has_ended_meanwhile_returns_its_end(
    kubernetes: FakeKubernetes, started: JobStore
) -> None:
    """The cache still has it running, the CRD's rule refuses."""
    kubernetes.seed(EXPORTS, export(generation=1))
    await until(lambda: known(started))
    job = started.known_job(JOB)
    assert job is not None
    kubernetes.change(EXPORTS, JOB, {"status": {"phase": "Failed", "reason": "DumpFailed"}})
    kubernetes.faults.append(refused_by(str(CANCEL_BEFORE_THE_END["message"])))
    ended = await started.cancel_job(job)
    assert ended is not None
    assert ended.phase == Phase.FAILED
    # What any other rule refuses is a bug of ours.
    kubernetes.faults.append(refused_by("cancel can't be undone"))
    with pytest.raises(StoreRefusedError):
        await started.cancel_job(job)


async def test_a_project_is_asked_for_once_the_cache_does_not_know_it(
    kubernetes: FakeKubernetes, store: JobStore
) -> None:
    kubernetes.seed(TARGETS, builders.target_manifest("p"))
    assert await store.project_exists("p")
    assert not await store.project_exists("q")
    asked = [call.query["fieldSelector"] for call in kubernetes.calls]
    assert asked == ["spec.projectId=p", "spec.projectId=q"]


def links_of(store: JobStore) -> LinkState:
    job = store.known_job(JOB)
    assert job is not None
    return job.links


async def test_links_end_at_once_on_the_replica_that_takes_them_back(
    kubernetes: FakeKubernetes, started: JobStore
) -> None:
    kubernetes.seed(EXPORTS, export())
    await until(lambda: known(started))
    held = Fault("(list|watch) backupexports", is_held=True)
    kubernetes.faults.append(held)
    kubernetes.tell_watches(EXPORTS, END)
    await until(lambda: held.met == 1)
    # From now on no watch tells of anything.
    for link in ("0" * 16, "1" * 16):
        job = started.known_job(JOB)
        assert job is not None
        assert await started.take_back_links(job, link)
        assert link in links_of(started).taken_back
    assert links_of(started).generation == ""
    job = started.known_job(JOB)
    assert job is not None
    assert await started.take_back_links(job, None)
    first = links_of(started)
    assert first.generation
    assert not first.taken_back
    assert await started.take_back_links(job, None)
    assert links_of(started).generation not in ("", first.generation)
    last = links_of(started)
    held.release()
    await until(lambda: kubernetes.watching(EXPORTS) == 1)
    assert links_of(started) == last
    kubernetes.change(EXPORTS, JOB, {"status": {"phase": "Running"}})
    await until(lambda: (it := started.known_job(JOB)) is not None and it.phase == "Running")
    assert links_of(started) == last


async def test_replicas_take_back_links_at_the_same_time(
    kubernetes: FakeKubernetes, started: JobStore
) -> None:
    """None undoes what the other has done, however old what it knows is."""
    kubernetes.seed(EXPORTS, export())
    await until(lambda: known(started))
    stale = started.known_job(JOB)
    assert stale is not None
    links = [f"{number:016x}" for number in range(5)]
    await asyncio.gather(*(started.take_back_links(stale, link) for link in links))
    await until(lambda: links_of(started).taken_back == frozenset(links))
    await started.take_back_links(stale, None)
    await started.take_back_links(stale, links[0])
    annotations = kubernetes.objects(EXPORTS)[JOB]["metadata"]["annotations"]
    assert LinkState.of(annotations).generation


async def test_links_of_a_job_that_is_gone(kubernetes: FakeKubernetes, started: JobStore) -> None:
    kubernetes.seed(EXPORTS, export())
    await until(lambda: known(started))
    job = started.known_job(JOB)
    assert job is not None
    kubernetes.remove(EXPORTS, JOB)
    kubernetes.seed(EXPORTS, export())
    assert not await started.take_back_links(job, None)
    annotations = kubernetes.objects(EXPORTS)[JOB]["metadata"].get("annotations", {})
    assert LinkState.of(annotations) == LinkState()
