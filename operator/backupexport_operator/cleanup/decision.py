"""What is left to do for a BackupExport that has ended: a pure function of what was seen.

Its file goes with it where spec.artifactPolicy says so (behind a finalizer), and both go when
status.expirationTime has passed: the file once it is not to be sent any more, the resource once
no delivery needs it.  A Job in the volume's own mount removes the file.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto

from backupexport_contract import timestamps
from backupexport_contract.backup_export import BackupExport
from backupexport_contract.deliveries import awaits_file
from backupexport_contract.names import FINALIZER

from backupexport_operator.observed.export_files import (
    CLEANUP_PAUSE,
    NODE_GRACE,
    CleanupState,
    cleanup_result,
)
from backupexport_operator.observed.observation import SideJob


class CleanupStep(Enum):
    """What to do next to have the file removed."""

    CREATE = auto()
    WAIT = auto()
    DELETE = auto()
    DONE = auto()


@dataclass(frozen=True, slots=True)
class CleanupPlan:
    """What to do for a finished export; `failure` is why its file could not be removed yet."""

    step: CleanupStep = CleanupStep.WAIT
    remove_finalizer: bool = False
    delete_export: bool = False
    recheck_after: timedelta | None = None
    failure: str = ""


def cleanup_step(cleanup: SideJob, now: datetime) -> tuple[CleanupStep, timedelta | None]:
    """The next step, and when to look again; a Job that failed is made anew after a pause."""
    outcome = cleanup_result(cleanup, now)
    if outcome.state is CleanupState.MISSING:
        return CleanupStep.CREATE, None
    if outcome.state in (CleanupState.DONE, CleanupState.LOST):
        # That it is complete says it all: nothing is read from a removal's report.
        return CleanupStep.DONE, None
    if cleanup.job is not None and cleanup.job.suspended:
        # Made anew it would only go to the end of the queue that holds it.
        return CleanupStep.WAIT, CLEANUP_PAUSE
    if outcome.state is CleanupState.FAILED and cleanup.job is not None:
        left = timestamps.from_text(cleanup.job.created_at) + CLEANUP_PAUSE - now
        if left <= timedelta():
            return CleanupStep.DELETE, None
        return CleanupStep.WAIT, left
    return CleanupStep.WAIT, CLEANUP_PAUSE


def decide_cleanup(
    export: BackupExport, cleanup: SideJob, now: datetime, *, is_being_sent: bool = False
) -> CleanupPlan:
    """The next step for an export that has ended; doing it twice is harmless.

    `is_being_sent` is whether a delivery may still read the file.
    """
    deleting = export.metadata.deletion_timestamp is not None
    holds = FINALIZER in export.metadata.finalizers
    if not deleting:
        if export.status.expiration_time is None:
            return CleanupPlan()
        left = timestamps.from_text(export.status.expiration_time) - now
        if left > timedelta():
            return CleanupPlan(recheck_after=left)
        if awaits_file(export.status):
            # Its owner is promised the file; that ends, well or not, and the watch tells.
            return CleanupPlan(recheck_after=CLEANUP_PAUSE)
    elif not holds:
        return CleanupPlan()
    if is_being_sent:
        # It would go on with a file that is gone, and note it beside where that was.
        return CleanupPlan(recheck_after=NODE_GRACE)
    step, recheck_after = CleanupStep.DONE, None
    if export.status.artifact is not None:
        step, recheck_after = cleanup_step(cleanup, now)
    if step is CleanupStep.DONE and export.status.delivery_pending and not deleting:
        # The mail that is still to be sent rests on the resource.
        return CleanupPlan(step, recheck_after=CLEANUP_PAUSE)
    if step is CleanupStep.DONE:
        return CleanupPlan(step, remove_finalizer=holds, delete_export=not deleting)
    return CleanupPlan(
        step, recheck_after=recheck_after, failure=cleanup_result(cleanup, now).message
    )
