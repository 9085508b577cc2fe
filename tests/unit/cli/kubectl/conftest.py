"""A kubectl that says what a test wants."""

from pathlib import Path

import pytest
from backupexport_cli.kubectl.process import Kubectl
from fake_kubectl import FakeKubectl


@pytest.fixture
def program(tmp_path: Path) -> FakeKubectl:
    return FakeKubectl(tmp_path)


@pytest.fixture
def kubectl(program: FakeKubectl) -> Kubectl:
    return Kubectl(namespace="team", environment=program.environment)
