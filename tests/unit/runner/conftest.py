"""Fixtures around `runner_bench`."""

from collections.abc import Callable
from pathlib import Path

import pytest
from runner_bench import JOB_ID, PASSWORD, Bench, environment


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def make_environment() -> Callable[..., dict[str, str]]:
    return environment


@pytest.fixture
def job_id() -> str:
    return JOB_ID


@pytest.fixture
def password() -> str:
    return PASSWORD
