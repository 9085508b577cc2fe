"""The command line's own files are the test's."""

from pathlib import Path

import cli_home
import pytest


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where contexts and tokens are."""
    return cli_home.isolate(monkeypatch, tmp_path)
