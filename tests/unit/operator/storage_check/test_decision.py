"""When a storage is checked."""

from dataclasses import replace
from datetime import timedelta

import pytest
from backupexport_contract import timestamps
from backupexport_operator.observed.jobs_and_pods import ObservedJob
from backupexport_operator.observed.observation import SideJob
from backupexport_operator.storage_check.decision import (
    PAUSE,
    PAUSE_AFTER_FAILURE,
    CheckStep,
    decide_check,
)

JOB = ObservedJob("check-storage-a", "", created_at="2026-01-29T15:30:00Z")
COMPLETE = replace(JOB, complete=True)
FAILED = replace(JOB, failure="BackoffLimitExceeded")
MOMENT = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("job", "age", "step", "again"),
    [
        (None, MOMENT, CheckStep.CREATE, None),
        (JOB, MOMENT, CheckStep.WAIT, PAUSE_AFTER_FAILURE - MOMENT),
        # No controller works on it.
        (JOB, PAUSE_AFTER_FAILURE, CheckStep.DELETE, 5 * MOMENT),
        (COMPLETE, PAUSE_AFTER_FAILURE, CheckStep.WAIT, PAUSE - PAUSE_AFTER_FAILURE),
        (COMPLETE, PAUSE, CheckStep.DELETE, 5 * MOMENT),
        (FAILED, PAUSE_AFTER_FAILURE - MOMENT, CheckStep.WAIT, MOMENT),
        (FAILED, PAUSE_AFTER_FAILURE, CheckStep.DELETE, 5 * MOMENT),
        (replace(FAILED, deleting=True), PAUSE, CheckStep.WAIT, 5 * MOMENT),
        (replace(JOB, suspended=True), PAUSE, CheckStep.WAIT, PAUSE_AFTER_FAILURE),
    ],
)
def test_the_next_step(
    job: ObservedJob | None, age: timedelta, step: CheckStep, again: timedelta | None
) -> None:
    plan = decide_check(SideJob(job), timestamps.from_text(JOB.created_at) + age)
    assert (plan.step, plan.recheck_after) == (step, again)
