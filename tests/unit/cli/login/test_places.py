"""A person's own folder is shown as they know it."""

from pathlib import Path

import pytest
from backupexport_cli.login.places import shown


def test_the_own_folder_is_a_tilde(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert shown(Path("/home/me/.config/x/tokens.json")) == "~/.config/x/tokens.json"
    assert shown(Path("/home/mean/tokens.json")) == "/home/mean/tokens.json"
