"""A late watch is not a dead one."""

import pytest
from backupexport_operator.observed.watch_health import WatchHealth

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
    "a deletion": [({}, {"a": 1})] * 3,
    "one of many": [({"a": 9, "b": i}, {"a": 3, "b": i}) for i in range(1, 4)],
    "without versions": [({"a": 0, "b": 0}, {"a": 0})] * 3,
}


@pytest.mark.parametrize("comparisons", DEAD.values(), ids=DEAD)
def test_dead(comparisons: list[Comparison]) -> None:
    for length in range(1, len(comparisons)):
        assert health_after(*comparisons[:length]).dead(LIMIT) == []
    assert health_after(*comparisons).dead(LIMIT) == ["jobs"]


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
