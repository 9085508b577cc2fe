"""The counter of reads."""

import time

import pytest
from backupexport_api.limits.rate_limit import FixedWindow


class Clock:
    now = 100.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "time", lambda: clock.now)
    return clock


def test_a_window_of_each_key(clock: Clock) -> None:
    window = FixedWindow(2, 60)
    assert window.hit("a") == (False, 1, 160.0)
    clock.now = 130.0
    assert window.hit("a") == (False, 0, 160.0)
    assert window.hit("b") == (False, 1, 190.0)
    assert window.hit("a") == (True, 0, 160.0)
    clock.now = 159.9
    assert window.hit("a") == (True, 0, 160.0)
    clock.now = 160.0
    assert window.hit("a") == (False, 1, 220.0)


def test_windows_that_are_over_are_forgotten_and_others_are_not(clock: Clock) -> None:
    window = FixedWindow(1, 60)
    for number in range(900):
        window.hit(f"old {number}")
    clock.now += 50
    for number in range(100):
        window.hit(f"young {number}")
    clock.now += 20
    window.hit("one more")
    assert len(window._windows) == 101
    assert window.hit("young 7")[0]
    assert not window.hit("old 7")[0]
