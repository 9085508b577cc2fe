"""What is left to clean up of a BackupExport that has ended; pure.

A deleted export takes its file along if spec.artifactPolicy says so; our finalizer holds it until
then.  An export that expires (status.expirationTime) loses its file as soon as no delivery will
send that any more, and then its resource as soon as no delivery needs that.  A Job with the
exports' storage removes the file.  Where it finds none, an expired export stays, and its file is
looked for again a day later; a deleted one goes: whoever deletes it may have removed the file.
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
    CleanupResult,
    CleanupState,
    cleanup_result,
)
from backupexport_operator.observed.observation import SideJob

# A file that is not there may be somewhere else for a while: another volume was mounted, say.
MISSING_PAUSE = timedelta(days=1)


class CleanupStep(Enum):
    """What to do next with the Job that cleans up."""

    CREATE = auto()
    WAIT = auto()
    DELETE = auto()
    DONE = auto()


@dataclass(frozen=True, slots=True)
class CleanupPlan:
    """What to do for a finished export.

    `failure` is why its file is not removed yet; `is_missing` says that there is none to remove,
    `is_unreachable` that its storage is none of the chart's any more.
    """

    step: CleanupStep = CleanupStep.WAIT
    remove_finalizer: bool = False
    delete_export: bool = False
    recheck_after: timedelta | None = None
    failure: str = ""
    is_missing: bool = False
    is_unreachable: bool = False


def cleanup_step(cleanup: SideJob, now: datetime) -> tuple[CleanupStep, timedelta | None]:
    """Returns the next step, and when to look again; a failed Job is made anew after a pause."""
    result = cleanup_result(cleanup, now)
    if result.state is CleanupState.MISSING:
        return CleanupStep.CREATE, None
    if result.state in (CleanupState.DONE, CleanupState.LOST):
        # Nothing needs its report: a complete Job has removed the file.
        return CleanupStep.DONE, None
    if cleanup.job is not None and cleanup.job.suspended:
        # Made anew it would only go to the end of the queue that holds it.
        return CleanupStep.WAIT, CLEANUP_PAUSE
    if result.state is CleanupState.FAILED and cleanup.job is not None:
        left = timestamps.from_text(cleanup.job.may_run_since) + CLEANUP_PAUSE - now
        return (CleanupStep.WAIT, left) if left > timedelta() else (CleanupStep.DELETE, None)
    return CleanupStep.WAIT, CLEANUP_PAUSE


def decide_cleanup(
    export: BackupExport, removal: CleanupResult, now: datetime, *, is_being_sent: bool = False
) -> CleanupPlan:
    """Returns the next step for an export that has ended; doing it twice is harmless.

    `removal` is that of its file; `is_being_sent` if a delivery may still read that.  A step of
    CREATE asks for a Job that removes the file.
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
            # The file is promised to its owner; the watch tells when the delivery has ended.
            return CleanupPlan(recheck_after=CLEANUP_PAUSE)
    elif not holds:
        return CleanupPlan()
    if is_being_sent:
        # The delivery would go on without the file, and write its notes where that was.
        return CleanupPlan(recheck_after=NODE_GRACE)
    return _decide_removal(export, removal, now)


def _decide_removal(export: BackupExport, removal: CleanupResult, now: datetime) -> CleanupPlan:
    deleting = export.metadata.deletion_timestamp is not None
    holds = FINALIZER in export.metadata.finalizers
    state = CleanupState.DONE if export.status.artifact is None else removal.state
    if state is CleanupState.NOT_FOUND and deleting:
        return CleanupPlan(remove_finalizer=True, is_missing=True)
    if state is CleanupState.NOT_FOUND:
        left = timestamps.from_text(removal.made_at) + MISSING_PAUSE - now
        if left > timedelta():
            return CleanupPlan(recheck_after=left, is_missing=True)
    if state is CleanupState.DONE and export.status.delivery_pending and not deleting:
        # The mail that is still to be sent is made from the resource.
        return CleanupPlan(CleanupStep.DONE, recheck_after=CLEANUP_PAUSE)
    if state is CleanupState.DONE:
        return CleanupPlan(CleanupStep.DONE, remove_finalizer=holds, delete_export=not deleting)
    if state is CleanupState.UNREACHABLE:
        # It may come back: what isn't looked for is not taken for removed.
        failure = removal.message
        return CleanupPlan(recheck_after=MISSING_PAUSE, failure=failure, is_unreachable=True)
    if state is CleanupState.UNDER_WAY:
        return CleanupPlan(recheck_after=CLEANUP_PAUSE, failure=removal.message)
    if state is CleanupState.FAILED:
        left = timestamps.from_text(removal.made_at) + CLEANUP_PAUSE - now
        if left > timedelta():
            return CleanupPlan(recheck_after=left, failure=removal.message)
    # A report that is lost is asked for again: what was removed is known on the volume.
    return CleanupPlan(CleanupStep.CREATE, failure=removal.message)
