"""A late watch is not a dead one."""

import pytest
from backupexport_operator.observed.watch_health import Present, WatchHealth

LIMIT = 120.0
Comparison = tuple[dict[str, int], dict[str, int]]


def health_after(*comparisons: Comparison, kinds: tuple[str, ...] = ("jobs",)) -> WatchHealth:
    """Compared once a minute."""
    now = 0.0
    health = WatchHealth(kinds, lambda: now)
    for listed, known in comparisons:
        now += 60
        health.compare("jobs", listed, known)
    return health


GOOD: dict[str, list[Comparison]] = {
    "nothing there": [({}, {})] * 4,
    "all known": [({"a": 1}, {"a": 1})] * 4,
    "known better than listed": [({"a": 1}, {"a": 2})] * 4,
    "always a little late": [({"a": 10 * i}, {"a": 10 * i - 1}) for i in range(1, 9)],
    "other new ones each time": [({f"a{i}": 1}, {}) for i in range(8)],
    "other deleted ones each time": [({}, {f"a{i}": 1}) for i in range(8)],
    "made after the list was read": [({}, {"a": 5}), *[({"a": 5}, {"a": 5})] * 3],
    "missed once": [({"a": 2}, {"a": 1}), *[({"a": 2}, {"a": 2})] * 3],
    "missed for a minute": [*[({"a": 2}, {"a": 1})] * 2, ({"a": 2}, {"a": 2})],
    "without versions": [({"a": 0, "b": 0}, {"a": 0}), *[({"a": 0}, {"a": 0})] * 3],
}


@pytest.mark.parametrize("comparisons", GOOD.values(), ids=GOOD)
def test_alive(comparisons: list[Comparison]) -> None:
    for length in range(1, len(comparisons) + 1):
        assert health_after(*comparisons[:length]).dead(LIMIT) == []


DEAD: dict[str, list[Comparison]] = {
    "a change": [({"a": 2}, {"a": 1})] * 3,
    "changes that go on": [({"a": 10 * i}, {"a": 1}) for i in range(1, 4)],
    "a new one": [({"a": 2}, {})] * 3,
    "one of many": [({"a": 9, "b": i}, {"a": 3, "b": i}) for i in range(1, 4)],
    "without versions": [({"a": 0, "b": 0}, {"a": 0})] * 3,
}


@pytest.mark.parametrize("comparisons", DEAD.values(), ids=DEAD)
def test_dead(comparisons: list[Comparison]) -> None:
    for length in range(1, len(comparisons)):
        assert health_after(*comparisons[:length]).dead(LIMIT) == []
    assert health_after(*comparisons).dead(LIMIT) == ["jobs"]


def test_what_is_gone_without_a_word_is_told_and_no_sign_of_a_dead_watch() -> None:
    """After a 410, kopf lists anew and says nothing of what isn't there any more."""
    health = WatchHealth(["jobs"], lambda: 0.0)
    assert health.compare("jobs", {"b": 1}, {"a": 1, "b": 1}) == set()
    assert health.compare("jobs", {"b": 1}, {"a": 1, "b": 1}) == {"a"}
    for length in range(1, 9):
        after = health_after(*[({}, {"a": 1})] * length)
        assert (after.dead(LIMIT), after.lateness()) == ([], {"jobs": 0.0})


def test_what_is_made_while_the_list_is_read_is_not_gone() -> None:
    health = WatchHealth(["jobs"], lambda: 0.0)
    assert health.compare("jobs", {}, {"a": 1}) == set()
    assert health.compare("jobs", {"a": 1}, {"a": 1, "b": 1}) == set()
    assert health.compare("jobs", {"a": 1, "b": 1}, {"a": 1, "b": 1, "c": 1}) == set()


def test_a_watch_that_lists_anew_for_long_is_not_dead() -> None:
    """It misses a change for minutes, and tells of one object after the other meanwhile."""
    now = 0.0
    health = WatchHealth(["jobs"], lambda: now)
    for minute in range(1, 8):
        now = 60.0 * minute
        health.compare("jobs", {"a": 2}, {"a": 1})
        now += 50
        health.told("jobs")
        assert health.dead(LIMIT) == []
    assert health.lateness() == {"jobs": 360.0}
    now += LIMIT
    assert health.dead(LIMIT) == ["jobs"]


def test_an_index_without_what_is_gone() -> None:
    index = {"x": ["a", "b"], "y": ["c"]}
    present = Present(index, lambda value: value)
    assert dict(present) == index
    assert present.hide({"b", "c"}) == [("x", "b"), ("y", "c")]
    assert (dict(present), len(present)) == ({"x": ["a"]}, 1)
    assert (present.get("y"), "y" in present) == (None, False)
    index["y"].append("d")
    assert dict(present) == {"x": ["a"], "y": ["d"]}


def test_no_comparison_is_no_failure() -> None:
    now = 0.0
    health = WatchHealth(["jobs"], lambda: now)
    health.compare("jobs", {"a": 1}, {})
    now = 3600.0
    assert health.dead(LIMIT) == []
    assert not health.complete
    health.compare("jobs", {"a": 1}, {})
    assert health.dead(LIMIT) == ["jobs"]


def test_complete_when_every_kind_has_shown_what_a_list_had() -> None:
    health = WatchHealth(["jobs", "pods"], lambda: 0.0)
    assert not health.complete
    health.compare("jobs", {"a": 1}, {})
    health.compare("pods", {}, {})
    assert not health.complete
    health.compare("jobs", {"a": 1, "b": 7}, {"a": 1})
    assert health.complete
    health.compare("jobs", {"a": 9}, {})
    assert health.complete
