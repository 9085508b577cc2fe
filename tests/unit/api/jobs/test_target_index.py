"""Targets by project: which one serves, and the order of lists, whatever changes."""

import random

import pytest
from backupexport_api.auth.claims import ProjectAccess
from backupexport_api.jobs.cached_job import CachedTarget
from backupexport_api.jobs.target_index import TargetIndex

EVERYTHING = ProjectAccess(every_project=True)


def target(name: str, project_id: str = "p", day: int = 1, **spec: object) -> CachedTarget:
    metadata = {
        "name": name,
        "resourceVersion": "1",
        "creationTimestamp": f"2026-01-{day:02}T00:00:00Z",
    }
    return CachedTarget.of({"metadata": metadata, "spec": {"projectId": project_id, **spec}})


def listed(index: TargetIndex) -> list[str]:
    targets, has_more = index.page("", 1000, EVERYTHING)
    assert not has_more
    return [each.name for each in targets]


@pytest.mark.parametrize(
    ("targets", "serving"),
    [
        ([target("b", day=1), target("a", day=2)], "b"),
        ([target("a", day=2), target("b", day=1)], "b"),
        # Of one second the first by name.
        ([target("b"), target("a")], "a"),
    ],
)
def test_the_older_serves(targets: list[CachedTarget], serving: str) -> None:
    index = TargetIndex()
    for each in targets:
        index.put(each)
    found = index.serving("p")
    assert found is not None
    assert found.name == serving
    assert listed(index) == [serving]


def test_a_new_version_takes_the_old_one_s_place() -> None:
    index = TargetIndex()
    index.put(target("a"))
    index.put(target("a", suspend=True))
    found = index.serving("p")
    assert found is not None
    assert found.is_suspended
    index.discard("a")
    assert index.serving("p") is None
    index.discard("a")
    assert listed(index) == []


def test_a_target_that_is_made_anew_may_serve_another_project() -> None:
    index = TargetIndex()
    index.put(target("a", "p"))
    index.put(target("a", "q"))
    assert index.serving("p") is None
    assert index.serving("q") is not None
    assert listed(index) == ["a"]


def test_projects_that_differ_only_in_case_are_two() -> None:
    index = TargetIndex()
    index.put(target("lower", "shop"))
    index.put(target("upper", "Shop"))
    assert listed(index) == ["upper", "lower"]
    only, _ = index.page("", 10, ProjectAccess(project_ids=frozenset({"shop"})))
    assert [each.name for each in only] == ["lower"]


def test_whatever_changes_the_list_is_what_one_would_make_of_all_targets() -> None:
    chosen = random.Random(19)
    index = TargetIndex()
    there: dict[str, CachedTarget] = {}
    for _ in range(3000):
        name = f"t{chosen.randrange(40)}"
        if chosen.random() < 0.4:
            there.pop(name, None)
            index.discard(name)
        else:
            there[name] = target(name, f"p{chosen.randrange(15)}", chosen.randrange(1, 5))
            index.put(there[name])
        serving: dict[str, CachedTarget] = {}
        for each in sorted(there.values(), key=lambda it: (it.created_at, it.name)):
            serving.setdefault(each.project_id, each)
        assert listed(index) == [serving[project].name for project in sorted(serving)]
