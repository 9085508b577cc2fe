"""What happens to a finished export's file and resource, as tables."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import builders
import pytest
from backupexport_contract.backup_export import BackupExport
from backupexport_operator.cleanup.decision import (
    MISSING_PAUSE,
    CleanupPlan,
    CleanupStep,
    decide_cleanup,
)
from backupexport_operator.observed.export_files import (
    CLEANUP_PAUSE,
    NODE_GRACE,
    CleanupResult,
    CleanupState,
)

NOW = datetime(2026, 1, 29, 15, 31, 0, tzinfo=UTC)
LEFT = timedelta(seconds=30)
PAST, FUTURE = "2026-01-29T15:30:59Z", "2026-01-29T15:31:30Z"
MISSING, GONE, NOT_FOUND, LOST = (
    CleanupResult(state, made_at=PAST)
    for state in (
        CleanupState.MISSING, CleanupState.DONE, CleanupState.NOT_FOUND, CleanupState.LOST
    )
)  # fmt: skip
STAYS = CleanupPlan(recheck_after=MISSING_PAUSE - timedelta(seconds=1), is_missing=True)
UNDER_WAY = CleanupResult(CleanupState.UNDER_WAY, message="its pod can't start: x", made_at=PAST)


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
        (export(held=True), MISSING, CleanupPlan()),
        (export(deleted=True), MISSING, CleanupPlan()),
        (export(expirationTime=FUTURE), MISSING, CleanupPlan(recheck_after=LEFT)),
        (HELD_AND_DELETED, MISSING, CleanupPlan(CleanupStep.CREATE)),
        (
            HELD_AND_DELETED,
            UNDER_WAY,
            CleanupPlan(recheck_after=CLEANUP_PAUSE, failure="its pod can't start: x"),
        ),
        (HELD_AND_DELETED, GONE, CleanupPlan(CleanupStep.DONE, remove_finalizer=True)),
        (EXPIRED, MISSING, CleanupPlan(CleanupStep.CREATE)),
        (EXPIRED, GONE, CleanupPlan(CleanupStep.DONE, delete_export=True)),
        (
            export(held=True, expirationTime=PAST),
            GONE,
            CleanupPlan(CleanupStep.DONE, remove_finalizer=True, delete_export=True),
        ),
        (
            export(artifact=False, expirationTime=PAST),
            MISSING,
            CleanupPlan(CleanupStep.DONE, delete_export=True),
        ),
        (
            export(held=True, deleted=True, artifact=False),
            MISSING,
            CleanupPlan(CleanupStep.DONE, remove_finalizer=True),
        ),
        (HELD_AND_DELETED, LOST, CleanupPlan(CleanupStep.CREATE)),
        (
            HELD_AND_DELETED,
            CleanupResult(
                CleanupState.FAILED, message="doesn't end", made_at="2026-01-29T15:20:00Z"
            ),
            CleanupPlan(CleanupStep.CREATE, failure="doesn't end"),
        ),
        (EXPIRED, NOT_FOUND, STAYS),
        (export(held=True, expirationTime=PAST), NOT_FOUND, STAYS),
        (
            EXPIRED,
            replace(NOT_FOUND, made_at="2026-01-28T15:31:00Z"),
            CleanupPlan(CleanupStep.CREATE),
        ),
        (HELD_AND_DELETED, NOT_FOUND, CleanupPlan(remove_finalizer=True, is_missing=True)),
    ],
    ids=[
        "kept while it is there", "nothing to do", "not yet", "deleted", "being removed",
        "removed, let go", "expired", "expired and removed", "expired, removed, held",
        "expired without a file", "deleted without a file", "the report is lost", "overdue",
        "expired and not found", "expired, not found, held", "not found a day ago",
        "deleted and not found",
    ],
)  # fmt: skip
def test_the_next_step(of: BackupExport, removal: CleanupResult, expected: CleanupPlan) -> None:
    assert decide_cleanup(of, removal, NOW) == expected


def test_a_removal_that_failed_says_why_and_is_made_anew_after_a_pause() -> None:
    said = "The export volume is mounted read-only."
    failed = CleanupResult(CleanupState.FAILED, message=said, made_at=PAST)
    waiting = decide_cleanup(HELD_AND_DELETED, failed, NOW)
    assert waiting.step is CleanupStep.WAIT
    assert waiting.failure == "The export volume is mounted read-only."
    assert waiting.recheck_after == CLEANUP_PAUSE - timedelta(seconds=1)
    assert not waiting.remove_finalizer
    again = decide_cleanup(HELD_AND_DELETED, failed, NOW + CLEANUP_PAUSE)
    assert again.step is CleanupStep.CREATE


def test_a_file_that_is_still_to_be_delivered_is_kept() -> None:
    awaited = export(expirationTime=PAST, **pending("Delivered"))
    assert decide_cleanup(awaited, MISSING, NOW) == CleanupPlan(recheck_after=CLEANUP_PAUSE)
    # Whoever deletes the export wants no delivery any more.
    deleted = export(held=True, deleted=True, expirationTime=PAST, **pending("Delivered"))
    assert decide_cleanup(deleted, MISSING, NOW).step is CleanupStep.CREATE


def test_a_mail_that_is_still_to_be_sent_keeps_the_resource_alone() -> None:
    awaited = export(held=True, expirationTime=PAST, **pending("Notified"))
    assert decide_cleanup(awaited, MISSING, NOW).step is CleanupStep.CREATE
    assert decide_cleanup(awaited, GONE, NOW) == CleanupPlan(
        CleanupStep.DONE, recheck_after=CLEANUP_PAUSE
    )
    deleted = export(held=True, deleted=True, **pending("Notified"))
    assert decide_cleanup(deleted, GONE, NOW).remove_finalizer


@pytest.mark.parametrize("of", [HELD_AND_DELETED, EXPIRED])
def test_no_file_goes_while_it_is_sent(of: BackupExport) -> None:
    assert decide_cleanup(of, MISSING, NOW, is_being_sent=True) == CleanupPlan(
        recheck_after=NODE_GRACE
    )
