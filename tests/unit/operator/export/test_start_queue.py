"""Who may start next, and that nobody starves."""

from collections import Counter

import pytest
from backupexport_operator.export.start_queue import QueueSync, StartQueue
from backupexport_operator.observed.export_cache import ExportCache, World
from hypothesis import given
from hypothesis import strategies as st


def arrival(second: int, uid: str) -> tuple[str, str, str]:
    return (f"2026-01-29T15:30:{second:02d}Z", "", uid)


def test_alone_it_starts_at_once() -> None:
    assert StartQueue(0).wait("a", "p", 1, arrival(0, "a"))


def test_a_project_runs_as_many_as_it_may_and_the_next_says_its_place() -> None:
    queue = StartQueue(0)
    queue.start("a", "p")
    assert not queue.wait("b", "p", 1, arrival(1, "b"))
    assert not queue.wait("c", "p", 1, arrival(2, "c"))
    assert queue.place("b")[1] == (
        "Waiting for its turn: 1 export of this project running (maxConcurrent is 1), "
        "no exports waiting before it."
    )
    assert "1 export waiting before it" in queue.place("c")[1]
    assert queue.wait("d", "q", 1, arrival(3, "d"))
    assert queue.leave("a") == ["b", "d"]
    assert queue.wait("b", "p", 1, arrival(1, "b"))
    assert not queue.wait("c", "p", 1, arrival(2, "c"))


def test_all_projects_together_run_as_many_as_the_operator_may() -> None:
    queue = StartQueue(2)
    queue.start("a", "p")
    queue.start("b", "q")
    assert not queue.wait("c", "r", 5, arrival(0, "c"))
    assert queue.place("c")[1] == (
        "Waiting for its turn: 2 exports running (the operator runs at most 2 at once), "
        "no exports waiting before it."
    )
    assert queue.leave("b") == ["c"]


def test_what_comes_later_waits_behind_what_waits_already() -> None:
    queue = StartQueue(2)
    queue.start("a", "p")
    assert queue.wait("old", "q", 1, arrival(0, "old"))
    assert not queue.wait("new", "r", 1, arrival(5, "new"))


def test_a_project_with_a_thousand_exports_does_not_starve_another() -> None:
    queue = StartQueue(2)
    queue.start("a0", "many")
    queue.start("a1", "many")
    for number in range(2, 1000):
        queue.wait(f"a{number}", "many", 100, arrival(0, f"a{number}"))
    assert not queue.wait("b", "few", 1, arrival(59, "b"))
    assert queue.leave("a0") == ["b"]


def test_a_limit_that_is_raised_lets_more_in() -> None:
    queue = StartQueue(0)
    queue.start("a", "p")
    assert not queue.wait("b", "p", 1, arrival(0, "b"))
    assert queue.wait("b", "p", 2, arrival(0, "b"))


def test_what_left_the_queue_holds_nobody_up() -> None:
    queue = StartQueue(1)
    queue.wait("suspended", "p", 1, arrival(0, "suspended"))
    assert not queue.wait("next", "q", 1, arrival(1, "next"))
    assert queue.leave("suspended") == ["next"]
    assert queue.leave("nobody-knows-it") == []


def test_a_place_without_a_limit_of_its_own_counts_the_operators() -> None:
    queue = StartQueue(3)
    for uid in "abc":
        queue.start(uid, uid)
    queue.wait("d", "p", 2, arrival(0, "d"))
    queue.wait("e", "q", 2, arrival(1, "e"))
    assert "1 export waiting before it" in queue.place("e")[1]
    assert queue.waiting == 2


steps = st.lists(
    st.tuples(
        st.sampled_from(["come", "start", "leave"]),
        st.integers(0, 30),
        st.sampled_from("pqr"),
    ),
    max_size=120,
)


@given(steps=steps, limit=st.integers(0, 4), per_project=st.integers(1, 3))
@pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisWarning")
def test_limits_hold_and_no_slot_stays_empty(
    steps: list[tuple[str, int, str]], limit: int, per_project: int
) -> None:
    """Whatever comes, goes and starts in whatever order."""
    queue = StartQueue(limit)
    waiting: dict[str, tuple[str, tuple[str, str, str]]] = {}
    active: dict[str, str] = {}

    def turn(uid: str) -> bool:
        project, came = waiting[uid]
        return queue.wait(uid, project, per_project, came)

    for step, number, project in steps:
        uid = f"{project}{number}"
        if step == "come" and uid not in active:
            waiting.setdefault(uid, (project, arrival(number, uid)))
            turn(uid)
        elif step == "start" and uid in waiting and turn(uid):
            active[uid] = waiting.pop(uid)[0]
            queue.start(uid, project)
        elif step == "leave":
            waiting.pop(uid, None)
            active.pop(uid, None)
            queue.leave(uid)
        of_project = Counter(active.values())
        assert all(count <= per_project for count in of_project.values())
        assert not limit or len(active) <= limit
        assert queue.waiting == len(waiting)

    may = {uid for uid in waiting if turn(uid)}
    of_project = Counter(active.values())
    free = limit - len(active) if limit else len(waiting)
    could = sum(
        min(per_project - of_project[name], sum(1 for p, _ in waiting.values() if p == name))
        for name in {p for p, _ in waiting.values()}
    )
    assert len(may) == min(free, could)
    for uid in may:
        name, came = waiting[uid]
        older = [o for o, (p, c) in waiting.items() if p == name and c < came]
        assert set(older) <= may, "first come, first served"


@pytest.mark.parametrize(("wake_next", "asked"), [(True, ["b"]), (False, [])])
def test_the_next_one_is_asked_for_unless_it_would_meet_the_same(
    wake_next: bool, asked: list[str]
) -> None:
    queue, asks = StartQueue(1), list[str]()
    queue.start("a", "p")
    queue.wait("b", "p", 1, ("2026-01-01", "2026-01-01", "b"))
    cache = ExportCache(World({}, {}, {}, {}), 4, None, progress_seconds=2)
    QueueSync(cache, queue, asks.append).leave("a", wake_next=wake_next)
    assert asks == asked
