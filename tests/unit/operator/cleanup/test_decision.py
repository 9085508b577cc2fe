"""What happens to a finished export's file and resource, as tables."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import builders
import pytest
from backupexport_contract.backup_export import BackupExport
from backupexport_contract.runner_protocol import Outcome, outcome_text
from backupexport_operator.cleanup.decision import Disposal, RemovalStep, dispose
from backupexport_operator.observed.export_files import CLEANUP_PAUSE, NODE_GRACE
from backupexport_operator.observed.jobs_and_pods import JobFacts, PodFacts
from backupexport_operator.observed.observation import TaskRun

NOW = datetime(2026, 1, 29, 15, 31, 0, tzinfo=UTC)
PAST, FUTURE = "2026-01-29T15:30:59Z", "2026-01-29T15:31:30Z"
JOB = JobFacts("remove-bex-nightly", "uid-1", task="remove", created_at=PAST)
REPORT = PodFacts("r", PAST, exit_code=0, termination_message=outcome_text(Outcome()))
GONE = TaskRun(replace(JOB, complete=True), [REPORT])


def export(
    *, held: bool = False, deleted: bool = False, artifact: bool = True, **status: Any
) -> BackupExport:
    ended = {
        "phase": "Succeeded" if artifact else "Failed",
        "artifact": builders.ARTIFACT_STATUS if artifact else None,
    }
    return builders.export(
        status=ended | status,
        finalizers=["backupexport.dev/artifact"] if held else [],
        deletionTimestamp=PAST if deleted else None,
    )


def pending(condition_type: str) -> dict[str, Any]:
    told = builders.condition(condition_type, "Unknown", "Pending", "Soon.", PAST)
    return {"conditions": [told], "deliveryPending": True}


HELD_AND_DELETED = export(held=True, deleted=True)
EXPIRED = export(expirationTime=PAST)


@pytest.mark.parametrize(
    ("of", "removal", "expected"),
    [
        (export(held=True), TaskRun(), Disposal()),
        (export(deleted=True), TaskRun(), Disposal()),
        (export(expirationTime=FUTURE), TaskRun(), Disposal(recheck_after=timedelta(seconds=30))),
        (HELD_AND_DELETED, TaskRun(), Disposal(RemovalStep.CREATE)),
        (HELD_AND_DELETED, TaskRun(JOB), Disposal(recheck_after=CLEANUP_PAUSE)),
        (HELD_AND_DELETED, GONE, Disposal(RemovalStep.DONE, remove_finalizer=True)),
        (EXPIRED, TaskRun(), Disposal(RemovalStep.CREATE)),
        (EXPIRED, GONE, Disposal(RemovalStep.DONE, delete_export=True)),
        (
            export(held=True, expirationTime=PAST),
            GONE,
            Disposal(RemovalStep.DONE, remove_finalizer=True, delete_export=True),
        ),
        (
            export(artifact=False, expirationTime=PAST),
            TaskRun(),
            Disposal(RemovalStep.DONE, delete_export=True),
        ),
        (
            export(held=True, deleted=True, artifact=False),
            TaskRun(),
            Disposal(RemovalStep.DONE, remove_finalizer=True),
        ),
        (
            HELD_AND_DELETED,
            TaskRun(replace(JOB, complete=True)),
            Disposal(RemovalStep.DONE, remove_finalizer=True),
        ),
        (
            HELD_AND_DELETED,
            TaskRun(replace(JOB, created_at="2026-01-29T15:20:00Z")),
            Disposal(RemovalStep.DELETE, trouble="its Job doesn't end"),
        ),
    ],
    ids=[
        "kept while it is there", "nothing to do", "not yet", "deleted", "being removed",
        "removed, let go", "expired", "expired and removed", "expired, removed, held",
        "expired without a file", "deleted without a file", "the report is lost", "suspended",
    ],
)  # fmt: skip
def test_the_next_step(of: BackupExport, removal: TaskRun, expected: Disposal) -> None:
    assert dispose(of, removal, NOW) == expected


def test_a_removal_that_failed_says_why_and_is_made_anew_after_a_pause() -> None:
    said = outcome_text(Outcome(message="The export volume is mounted read-only."))
    failed = TaskRun(
        replace(JOB, failure="BackoffLimitExceeded"),
        [replace(REPORT, exit_code=29, termination_message=said)],
    )
    waiting = dispose(HELD_AND_DELETED, failed, NOW)
    assert waiting.step is RemovalStep.WAIT
    assert waiting.trouble == "The export volume is mounted read-only."
    assert waiting.recheck_after == CLEANUP_PAUSE - timedelta(seconds=1)
    assert not waiting.remove_finalizer
    again = dispose(HELD_AND_DELETED, failed, NOW + CLEANUP_PAUSE)
    assert again.step is RemovalStep.DELETE


def test_a_file_that_is_still_to_be_delivered_is_kept() -> None:
    awaited = export(expirationTime=PAST, **pending("Delivered"))
    assert dispose(awaited, TaskRun(), NOW) == Disposal(recheck_after=CLEANUP_PAUSE)
    # Whoever deletes the export wants no delivery any more.
    deleted = export(held=True, deleted=True, expirationTime=PAST, **pending("Delivered"))
    assert dispose(deleted, TaskRun(), NOW).step is RemovalStep.CREATE


def test_a_mail_that_is_still_to_be_sent_keeps_the_resource_alone() -> None:
    awaited = export(held=True, expirationTime=PAST, **pending("Notified"))
    assert dispose(awaited, TaskRun(), NOW).step is RemovalStep.CREATE
    assert dispose(awaited, GONE, NOW) == Disposal(RemovalStep.DONE, recheck_after=CLEANUP_PAUSE)
    deleted = export(held=True, deleted=True, **pending("Notified"))
    assert dispose(deleted, GONE, NOW).remove_finalizer


@pytest.mark.parametrize("of", [HELD_AND_DELETED, EXPIRED])
def test_no_file_goes_while_it_is_sent(of: BackupExport) -> None:
    assert dispose(of, TaskRun(), NOW, is_being_sent=True) == Disposal(recheck_after=NODE_GRACE)
