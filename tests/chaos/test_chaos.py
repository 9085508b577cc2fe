"""The long chaos run: `make test-chaos SEED=n`."""

import os

import pytest
from chaos_projects import PROJECTS
from chaos_run import Plan, is_native, run
from chaos_schedule import chosen_faults

pytestmark = pytest.mark.cluster


def test_exports_survive() -> None:
    faults = chosen_faults(os.environ.get("CHAOS_FAULTS", "all"), is_native=is_native())
    seed = int(os.environ.get("CHAOS_SEED", "1"))
    plan = Plan(
        seed=seed,
        seconds=200,
        exports=50,
        faults=40,
        callers=5,
        kinds=faults,
        projects=PROJECTS,
        hits_with_all=True,
    )
    assert run(plan) == []
