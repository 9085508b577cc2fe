"""Who may lead, as tables."""

from dataclasses import replace

import pytest
from backupexport_operator.leader.decision import (
    NEVER,
    LeaseRecord,
    SeenLease,
    Timings,
    seconds_to_deadline,
    seconds_to_write,
    seconds_until_free,
    seen_now,
)

TIMINGS = Timings(lease=10, renew_deadline=7, retry=2)
HELD = LeaseRecord("a", 10, "1")
SEEN = SeenLease("a", 10, "1", since=100)


@pytest.mark.parametrize(
    ("before", "record", "after"),
    [
        pytest.param(None, None, SeenLease("", 10, None, 105), id="nothing there yet"),
        pytest.param(None, HELD, replace(SEEN, since=105), id="first seen, however old it is"),
        pytest.param(SEEN, HELD, SEEN, id="no sign of life"),
        pytest.param(SEEN, replace(HELD, stamp="2"), SeenLease("a", 10, "2", 105), id="renewed"),
        pytest.param(SEEN, LeaseRecord("b", 10, "2"), SeenLease("b", 10, "2", 105), id="taken"),
        pytest.param(SEEN, LeaseRecord("", 1, "2"), SeenLease("", 10, "2", 105), id="given back"),
        pytest.param(
            SEEN, LeaseRecord("a", 60, "2"), SeenLease("a", 60, "2", 105), id="a longer lease"
        ),
        pytest.param(
            SEEN, LeaseRecord("a", 3, "2"), SeenLease("a", 10, "2", 105), id="a shorter lease"
        ),
        pytest.param(SEEN, None, replace(SEEN, stamp=None, since=105), id="deleted"),
        pytest.param(
            replace(SEEN, stamp=None), None, replace(SEEN, stamp=None), id="still deleted"
        ),
        pytest.param(
            SeenLease("", 10, None, 100), None, SeenLease("", 10, None, 100), id="still not there"
        ),
    ],
)
def test_what_is_seen(
    before: SeenLease | None, record: LeaseRecord | None, after: SeenLease
) -> None:
    assert seen_now(before, record, now=105, own=10) == after


@pytest.mark.parametrize(
    ("seen_lease", "now", "seconds"),
    [
        (SEEN, 100, 10),
        (SEEN, 109, 1),
        (SEEN, 110, 0),
        (SEEN, 400, 0),
        (replace(SEEN, holder=""), 100, 0),
        (replace(SEEN, holder="me"), 100, 0),
        (replace(SEEN, stamp=None), 101, 9),
    ],
)
def test_when_it_is_free(seen_lease: SeenLease, now: float, seconds: float) -> None:
    assert seconds_until_free(seen_lease, "me", now) == seconds


@pytest.mark.parametrize(
    ("renewed_at", "now", "to_deadline", "to_write"),
    [
        (NEVER, 100, 0, 0),
        (100, 100, 7, 8.5),
        (100, 106.5, 0.5, 2),
        (100, 107, 0, 0),
        (100, 130, 0, 0),
    ],
)
def test_how_long_a_leader_may_act(
    renewed_at: float, now: float, to_deadline: float, to_write: float
) -> None:
    assert seconds_to_deadline(renewed_at, now, TIMINGS) == to_deadline
    assert seconds_to_write(renewed_at, now, TIMINGS) == to_write


def test_no_write_outlives_the_lease() -> None:
    for tenths in range(120):
        now = 100 + tenths / 10
        seconds = seconds_to_write(100, now, TIMINGS)
        assert seconds == 0 or now + seconds < 100 + TIMINGS.lease
