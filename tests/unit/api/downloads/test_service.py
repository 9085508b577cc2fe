"""What was asked a moment ago."""

from types import SimpleNamespace

import pytest
from backupexport_api.downloads import service
from backupexport_api.downloads.service import RecentKeys


def test_it_is_remembered_for_a_while_and_then_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(service, "time", SimpleNamespace(monotonic=lambda: now))
    asked = RecentKeys(2.0)
    assert "a" not in asked
    asked.add("a")
    now = 101.0
    asked.add("b")
    assert "a" in asked
    now = 101.5
    asked.add("a")
    now = 103.0
    assert "a" in asked
    assert "b" not in asked
    now = 103.5
    assert "a" not in asked
    asked.add("c")
    assert list(asked._until) == ["c"]
