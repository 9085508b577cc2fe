"""What a batch's Job and pods tell of one of its exports, as a table."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from backupexport_contract.runner_protocol import Outcome, outcome_text
from backupexport_operator.observed.export_files import (
    CLEANUP_PAUSE,
    CleanupResult,
    CleanupState,
    removal_result,
)
from backupexport_operator.observed.jobs_and_pods import ObservedJob, ObservedPod
from backupexport_operator.observed.observation import SideJob

MADE, LATER = "2026-01-29T15:30:00Z", "2026-01-29T15:30:30Z"
NOW = datetime(2026, 1, 29, 15, 31, 0, tzinfo=UTC)
JOB = ObservedJob("remove-files-x", "", batch=("u0", "u1"), created_at=MADE)
COMPLETE = replace(JOB, complete=True)
FAILED = replace(JOB, failure="DeadlineExceeded", failure_message="Too long.")
POD = ObservedPod("r", MADE, node="n")


def ended(code: int, outcome: Outcome | None, created: str = MADE) -> ObservedPod:
    text = outcome_text(outcome) if outcome else ""
    return replace(POD, created_at=created, exit_code=code, termination_message=text)


ALL = ended(0, Outcome())
NOT_U1 = ended(0, Outcome(missing=(1,)))
HALF = ended(29, Outcome(message="Read-only.", failed=(1,)))
STUCK = replace(POD, node="", unschedulable='persistentvolumeclaim "old" not found')


@pytest.mark.parametrize(
    ("batch", "uid", "state", "message"),
    [
        (SideJob(), "u1", "MISSING", ""),
        (SideJob(JOB), "u1", "UNDER_WAY", ""),
        (SideJob(JOB, [replace(POD, waiting="ContainerCreating")]), "u1", "UNDER_WAY", ""),
        (
            SideJob(JOB, [STUCK]), "u1", "UNDER_WAY",
            'its pod can\'t start: persistentvolumeclaim "old" not found',
        ),
        (SideJob(COMPLETE, [ALL]), "u1", "DONE", ""),
        (SideJob(COMPLETE, [NOT_U1]), "u0", "DONE", ""),
        (SideJob(COMPLETE, [NOT_U1]), "u1", "NOT_FOUND", ""),
        (SideJob(COMPLETE), "u1", "LOST", ""),
        (SideJob(COMPLETE, [ended(0, None)]), "u1", "FAILED", "its report can't be read"),
        (
            SideJob(COMPLETE, [replace(ALL, termination_message="garbage")]), "u1", "FAILED",
            "its report can't be read",
        ),
        # It is tried again by another pod.
        (SideJob(JOB, [HALF]), "u0", "UNDER_WAY", ""),
        (SideJob(FAILED, [HALF]), "u0", "DONE", ""),
        (SideJob(FAILED, [HALF]), "u1", "FAILED", "Read-only."),
        (SideJob(FAILED, [ended(143, Outcome(message="Stopped."))]), "u0", "FAILED", "Stopped."),
        (SideJob(FAILED), "u0", "FAILED", "Too long."),
        (SideJob(COMPLETE, [ended(0, Outcome(), LATER), HALF]), "u1", "DONE", ""),
        (SideJob(replace(JOB, suspended=True)), "u1", "UNDER_WAY", ""),
    ],
    ids=str,
)  # fmt: skip
def test_it(batch: SideJob, uid: str, state: str, message: str) -> None:
    expected = CleanupResult(
        CleanupState[state], message=message, made_at=MADE if batch.job else ""
    )
    assert removal_result(batch, uid, NOW) == expected


def test_one_that_does_not_end_counts_as_failed_unless_somebody_holds_it() -> None:
    later = NOW + CLEANUP_PAUSE
    assert removal_result(SideJob(JOB), "u1", later).state is CleanupState.FAILED
    held = SideJob(replace(JOB, suspended=True))
    assert removal_result(held, "u1", later).state is CleanupState.UNDER_WAY
    assert later - NOW > timedelta()
