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
    cleanup_outcome,
)
from backupexport_operator.observed.observation import TaskRun


class RemovalStep(Enum):
    """What to do next to have the file removed."""

    CREATE = auto()
    WAIT = auto()
    DELETE = auto()
    DONE = auto()


@dataclass(frozen=True, slots=True)
class Disposal:
    """What to do for a finished export; `trouble` is why its file could not be removed yet."""

    step: RemovalStep = RemovalStep.WAIT
    remove_finalizer: bool = False
    delete_export: bool = False
    recheck_after: timedelta | None = None
    trouble: str = ""


def removal_step(removal: TaskRun, now: datetime) -> tuple[RemovalStep, timedelta | None]:
    """The next step, and when to look again; a Job that failed is made anew after a pause."""
    outcome = cleanup_outcome(removal, now)
    if outcome.state is CleanupState.MISSING:
        return RemovalStep.CREATE, None
    if outcome.state in (CleanupState.DONE, CleanupState.LOST):
        # That it is complete says it all: nothing is read from a removal's report.
        return RemovalStep.DONE, None
    if removal.job is not None and removal.job.suspended:
        # Made anew it would only go to the end of the queue that holds it.
        return RemovalStep.WAIT, CLEANUP_PAUSE
    if outcome.state is CleanupState.FAILED and removal.job is not None:
        left = timestamps.from_text(removal.job.created_at) + CLEANUP_PAUSE - now
        if left <= timedelta():
            return RemovalStep.DELETE, None
        return RemovalStep.WAIT, left
    return RemovalStep.WAIT, CLEANUP_PAUSE


def dispose(
    export: BackupExport, removal: TaskRun, now: datetime, *, is_being_sent: bool = False
) -> Disposal:
    """The next step for an export that has ended; doing it twice is harmless.

    `is_being_sent` is whether a delivery may still read the file.
    """
    deleting = export.metadata.deletion_timestamp is not None
    holds = FINALIZER in export.metadata.finalizers
    if not deleting:
        if export.status.expiration_time is None:
            return Disposal()
        left = timestamps.from_text(export.status.expiration_time) - now
        if left > timedelta():
            return Disposal(recheck_after=left)
        if awaits_file(export.status):
            # Its owner is promised the file; that ends, well or not, and the watch tells.
            return Disposal(recheck_after=CLEANUP_PAUSE)
    elif not holds:
        return Disposal()
    if is_being_sent:
        # It would go on with a file that is gone, and note it beside where that was.
        return Disposal(recheck_after=NODE_GRACE)
    step, recheck_after = RemovalStep.DONE, None
    if export.status.artifact is not None:
        step, recheck_after = removal_step(removal, now)
    if step is RemovalStep.DONE and export.status.delivery_pending and not deleting:
        # The mail that is still to be sent rests on the resource.
        return Disposal(step, recheck_after=CLEANUP_PAUSE)
    if step is RemovalStep.DONE:
        return Disposal(step, remove_finalizer=holds, delete_export=not deleting)
    return Disposal(
        step, recheck_after=recheck_after, trouble=cleanup_outcome(removal, now).message
    )
