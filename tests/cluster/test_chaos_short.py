"""The chaos run's short form: enough to see that nothing broke, in two minutes."""

import os

import pytest
from chaos_projects import PROJECTS
from chaos_run import Plan, is_native, run
from chaos_schedule import chosen_faults

pytestmark = pytest.mark.cluster

SEED = 7


def test_exports_survive_a_short_chaos() -> None:
    faults = chosen_faults(os.environ.get("CHAOS_FAULTS", "all"), is_native=is_native())
    plan = Plan(
        seed=SEED,
        seconds=35,
        exports=10,
        faults=10,
        callers=2,
        kinds=faults,
        projects=PROJECTS,
    )
    assert run(plan) == []
