"""A step for an unfinished export, and the steps that lead to an end without an artifact; pure."""

from dataclasses import dataclass
from datetime import timedelta

from backupexport_contract.backup_export import BackupExportStatus
from backupexport_contract.names import FINALIZER
from backupexport_contract.reasons import Phase
from backupexport_contract.runner_protocol import TASK_TIDY

from backupexport_operator.export import attempts, next_status
from backupexport_operator.observed.export_files import (
    CLEANUP_PAUSE,
    NODE_GRACE,
    CleanupState,
    cleanup_result,
    is_clean,
    is_still_written,
)
from backupexport_operator.observed.failure import Failure
from backupexport_operator.observed.jobs_and_pods import ObservedPod
from backupexport_operator.observed.observation import Observation


@dataclass(frozen=True, slots=True)
class ExportPlan:
    """The status to write, and what to do beside writing it.

    `is_failure` says that the export has failed or is cancelled, though its status may not say so
    yet: what leads there must be read afresh.  `create_cleanup` and `delete_cleanup` are a
    cleanup's task, `delete_pod` has failed or lost its Job and doesn't end by itself, `follow_pod`
    is the name of the pod whose log to read.
    """

    status: BackupExportStatus
    is_failure: bool = False
    create_job: bool = False
    delete_job: bool = False
    create_cleanup: str | None = None
    delete_cleanup: str | None = None
    add_finalizer: bool = False
    remove_finalizer: bool = False
    wants_warning: bool = False
    delete_pod: ObservedPod | None = None
    follow_pod: str | None = None
    recheck_after: timedelta | None = None


def fail(seen: Observation, failure: Failure) -> ExportPlan:
    """Returns a plan for the end of an export that has failed, which is told at once."""
    return end(seen, Phase.FAILED, failure, meanwhile=next_status.waiting(seen, failure))


def end(
    seen: Observation, phase: Phase, failure: Failure, meanwhile: BackupExportStatus
) -> ExportPlan:
    """Returns a plan for the end without an artifact, once no partial file can be left.

    `meanwhile` is the status until then.
    """
    if is_still_written(seen):
        return ExportPlan(
            meanwhile, is_failure=True, delete_pod=attempts.orphan(seen), recheck_after=NODE_GRACE
        )
    if not is_clean(seen):
        tidied = cleanup_result(seen.tidy_job, seen.now).state
        if tidied is CleanupState.MISSING:
            return ExportPlan(meanwhile, is_failure=True, create_cleanup=TASK_TIDY)
        if tidied is CleanupState.LOST:
            return ExportPlan(meanwhile, is_failure=True, delete_cleanup=TASK_TIDY)
        if tidied is CleanupState.UNDER_WAY:
            return ExportPlan(meanwhile, is_failure=True, recheck_after=CLEANUP_PAUSE)
        # Done, or failed for good: the project's next export removes what is left.
    return ExportPlan(
        next_status.ended(seen, phase, failure), is_failure=True, remove_finalizer=is_held(seen)
    )


def is_held(seen: Observation) -> bool:
    """Returns whether our finalizer holds the export."""
    return FINALIZER in seen.export.metadata.finalizers
