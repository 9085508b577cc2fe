"""The list's order, filters and pages, and that nobody's jobs show to others."""

import random
import sys
import threading
import uuid
from typing import Any

import pytest
from backupexport_api.auth.claims import ProjectAccess
from backupexport_api.jobs.cached_job import CachedJob
from backupexport_api.jobs.index import JobIndex
from backupexport_api.jobs.query import JobQuery, cursor_after
from backupexport_contract import names
from backupexport_contract.reasons import Phase

EVERYTHING = ProjectAccess(every_project=True)


def job(
    number: int,
    project_id: str = "p",
    *,
    name: str = "",
    uid: str = "",
    phase: str = "",
    version: str = "",
) -> CachedJob:
    """The higher `number`, the younger the job; its id is made of the number, too."""
    return CachedJob.of(
        {
            "metadata": {
                "name": name or str(uuid.UUID(int=number, version=4)),
                "uid": uid or str(uuid.uuid4()),
                "resourceVersion": version,
                "creationTimestamp": "2026-01-29T15:30:00Z",
                "annotations": {
                    names.ANNOTATION_CREATED_AT: f"2026-01-29T15:30:{number // 10:02}.000Z"
                },
            },
            "spec": {"projectId": project_id},
            "status": {"phase": phase} if phase else {},
        }
    )


def ids(index: JobIndex, access: ProjectAccess = EVERYTHING, **query: Any) -> list[str]:
    jobs, _ = index.page(JobQuery.model_validate(query), access)
    return [found.job_id for found in jobs]


@pytest.fixture
def jobs() -> list[CachedJob]:
    """Ten of each moment, so that the id has to decide, too; newest first."""
    made = [job(number, f"p{number % 3}", phase="Failed" * (number % 2)) for number in range(60)]
    return sorted(made, key=lambda each: each.position, reverse=True)


@pytest.fixture
def index(jobs: list[CachedJob]) -> JobIndex:
    index = JobIndex()
    for each in random.Random(1).sample(jobs, len(jobs)):
        index.put(each)
    return index


@pytest.mark.parametrize("limit", [1, 7, 60, 61])
@pytest.mark.parametrize(
    ("access", "query", "projects", "phases"),
    [
        (EVERYTHING, {}, {"p0", "p1", "p2"}, set(Phase)),
        (EVERYTHING, {"project_id": "p1"}, {"p1"}, set(Phase)),
        (EVERYTHING, {"status": "failed"}, {"p0", "p1", "p2"}, {Phase.FAILED}),
        (EVERYTHING, {"project_id": "p9"}, set(), set(Phase)),
        (ProjectAccess(project_ids=frozenset({"p0", "p2", "p9"})), {}, {"p0", "p2"}, set(Phase)),
        (
            ProjectAccess(project_ids=frozenset({"p0", "p2"})),
            {"status": "pending"},
            {"p0", "p2"},
            {Phase.PENDING},
        ),
        (ProjectAccess(project_ids=frozenset({"p0"})), {"project_id": "p1"}, set(), set(Phase)),
        (ProjectAccess(), {}, set(), set(Phase)),
    ],
)
def test_pages_are_the_whole_list_cut_up(
    index: JobIndex,
    jobs: list[CachedJob],
    access: Any,
    query: dict[str, Any],
    projects: set[str],
    phases: Any,
    limit: int,
) -> None:
    expected = [each for each in jobs if each.project_id in projects and each.phase in phases]
    found: list[CachedJob] = []
    cursor = None
    while True:
        page, has_more = index.page(JobQuery(**query, limit=limit, cursor=cursor), access)
        found += page
        if not has_more:
            break
        assert len(page) == limit
        cursor = cursor_after(page[-1].position)
    assert found == expected


def test_a_page_goes_on_where_its_last_job_was_though_that_is_gone(
    index: JobIndex, jobs: list[CachedJob]
) -> None:
    cursor = cursor_after(jobs[9].position)
    index.discard(jobs[9].name)
    index.put(job(600, "p0"))
    assert ids(index, cursor=cursor, limit=2) == [jobs[10].job_id, jobs[11].job_id]


def test_a_new_version_takes_the_old_one_s_place() -> None:
    index = JobIndex()
    index.put(job(1))
    index.put(job(1, phase="Running"))
    index.put(job(1, phase="Succeeded"))
    assert len(ids(index)) == 1
    assert index.count_by_phase()[Phase.SUCCEEDED] == 1
    assert sum(index.count_by_phase().values()) == 1
    index.discard(job(1).name)
    assert ids(index) == []
    assert sum(index.count_by_phase().values()) == 0
    index.discard("never there")


def test_a_job_is_never_missing_while_its_new_version_comes() -> None:
    index = JobIndex()
    versions = [job(1, name="nightly", uid=str(uuid.UUID(int=7)), phase=p) for p in ("", "Running")]
    index.put(versions[0])
    ended = threading.Event()

    def change() -> None:
        while not ended.is_set():
            for version in versions:
                index.put(version)

    writer = threading.Thread(target=change)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    writer.start()
    try:
        assert all(index.get(versions[0].job_id) for _ in range(20_000))
    finally:
        ended.set()
        writer.join()
        sys.setswitchinterval(interval)


def test_a_resource_that_is_made_anew_under_its_name() -> None:
    index = JobIndex()
    old, new = job(1, name="nightly"), job(2, name="nightly")
    index.put(old)
    index.put(new)
    assert index.get(old.job_id) is None
    assert index.get(new.job_id) is new
    assert ids(index) == [new.job_id]


@pytest.mark.parametrize("first", ["real", "shadow"])
def test_a_resource_named_after_another_s_uid_hides_nothing(first: str) -> None:
    index = JobIndex()
    uid = str(uuid.uuid4())
    jobs = {
        "real": job(1, name="nightly", uid=uid),
        "shadow": job(2, "other", name=uid),
    }
    for kind in (first, "real", "shadow"):
        index.put(jobs[kind])
    assert index.get(uid) is jobs["real"]
    assert ids(index) == [uid]
    index.discard(uid)
    assert index.get(uid) is jobs["real"]
    index.discard("nightly")
    assert ids(index) == []


@pytest.mark.parametrize("moment", [0, 1, 1769700600123, 2**40])
def test_a_cursor_says_where_the_list_goes_on(moment: int) -> None:
    position = (moment, str(uuid.UUID(int=2**100 + 5)))
    assert JobQuery(cursor=cursor_after(position)).after == position


UID = "7d4a3f0e-52b1-4c8e-9f0a-6b1c2d3e4f50"


def version_of(index: JobIndex) -> str:
    found = index.get(job(1).job_id)
    return found.resource_version if found else "none"


def test_what_was_written_here_is_not_undone_by_a_watch_that_is_behind() -> None:
    index = JobIndex()
    index.put(job(1, uid=UID, version="9"))
    index.put_written(job(1, uid=UID, version="11"))
    assert version_of(index) == "11"
    for older in ("9", "10"):
        index.put(job(1, uid=UID, version=older))
        assert version_of(index) == "11"
    for newer in ("11", "100"):
        index.put(job(1, uid=UID, version=newer))
        assert version_of(index) == newer
    # From then on the watch alone counts: what it lists anew may have been restored.
    index.put(job(1, uid=UID, version="5"))
    assert version_of(index) == "5"


def test_what_was_written_here_before_the_watch_tells_of_the_job() -> None:
    index = JobIndex()
    index.put_written(job(1, uid=UID, version="11"))
    assert version_of(index) == "none"
    index.put(job(1, uid=UID, version="10"))
    assert version_of(index) == "none"
    index.put(job(1, uid=UID, version="11"))
    assert version_of(index) == "11"


@pytest.mark.parametrize(("uid", "version"), [(UID, "12"), ("", "12"), ("", "10")])
def test_what_was_written_here_is_no_news_after_the_watch(uid: str, version: str) -> None:
    """A newer version is there, or another resource of this name."""
    index = JobIndex()
    index.put(job(1, uid=uid, version=version))
    index.put_written(job(1, uid=UID, version="11"))
    assert version_of(index) == version


@pytest.mark.parametrize("other", ["a namesake", "a deletion", "no number"])
def test_what_was_written_here_holds_up_nobody_else(other: str) -> None:
    index = JobIndex()
    index.put(job(1, uid=UID, version="9"))
    index.put_written(job(1, uid=UID, version="x" if other == "no number" else "11"))
    if other == "a deletion":
        index.discard(job(1).name)
        assert version_of(index) == "none"
    index.put(job(1, uid=UID if other != "a namesake" else "", version="10"))
    assert version_of(index) == "10"
