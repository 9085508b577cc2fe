"""What should be done next for one unfinished BackupExport: a pure function of what was seen."""

from dataclasses import dataclass, replace
from datetime import timedelta

from backupexport_contract import timestamps
from backupexport_contract.backup_export import BackupExportStatus
from backupexport_contract.names import FINALIZER
from backupexport_contract.reasons import Phase, Reason
from backupexport_contract.runner_protocol import TASK_REMOVE, TASK_TIDY, Artifact

from backupexport_operator.cleanup.decision import CleanupStep, cleanup_step
from backupexport_operator.export import next_status
from backupexport_operator.export.failure import job_deleted, job_failure, remembered
from backupexport_operator.observed.export_files import (
    CLEANUP_PAUSE,
    NODE_GRACE,
    CleanupState,
    cleanup_result,
    is_at_work,
    is_clean,
    is_overdue,
    is_still_written,
)
from backupexport_operator.observed.jobs_and_pods import ObservedJob, ObservedPod
from backupexport_operator.observed.observation import Observation
from backupexport_operator.observed.pod_failure import (
    Failure,
    end_artifact,
    end_failure,
    start_failure,
    stuck_failure,
    with_aside,
)


@dataclass(frozen=True, slots=True)
class ExportPlan:
    """The status that should be, and what to do beside writing it.

    `is_failure` says that the export has failed or is cancelled, whether or not its status says so
    already: what leads there must have been read afresh.  `create_cleanup` and `delete_cleanup`
    name the cleanup's task.
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
    follow_pod: str | None = None
    recheck_after: timedelta | None = None


# A target that is applied in the same breath as its export may be seen a moment later.
TARGET_GRACE = timedelta(seconds=10)

# The garbage collector takes its time with the Job of an export that was deleted and made anew.
FOREIGN_JOB_GRACE = timedelta(seconds=60)
FOREIGN_JOB_PATIENCE = timedelta(minutes=10)
# Pulling an image takes its time; a pod or a Job this old that tells nothing is stuck.
START_GRACE = timedelta(seconds=120)
# Where neither tells anything, Events may: not at once, and then not all the time.
WARNING_PAUSE = timedelta(seconds=15)

_SUSPENDED = Failure(
    Reason.TARGET_SUSPENDED,
    "The project's ExportTarget is suspended: the export starts when spec.suspend is false.",
)
_CANCELLED = Failure(Reason.CANCELLED, "The export was cancelled.")
_FOREIGN_JOB = Failure(
    Reason.INTERNAL,
    "A Job of this export's name belongs to something else: delete that Job, or make a "
    "BackupExport of another name.",
)
_LOST_REPORT = Failure(
    Reason.INTERNAL,
    "The Job is complete, but its pod is gone with its report and no whole file is on the "
    "volume: start the export again.",
)


def decide(seen: Observation) -> ExportPlan:
    """The next step; deciding twice on the same observation changes nothing more."""
    if seen.export.phase.is_finished:
        return ExportPlan(seen.export.status)
    own = _own_job(seen)
    if own is not None and not seen.export.status.job_name:
        # Made just now, or before a crash: without its name in the status another one would be
        # made when it is deleted, and nobody would look for what it left.
        status = next_status.accepted(seen)
        seen = replace(seen, export=seen.export.model_copy(update={"status": status}))
    if own is not None and own.deleting and not is_still_written(seen):
        # Deleted in the foreground it stays for as long as its pod does, on a dead node for ever.
        seen = replace(seen, job=None, lost_job=own)
    if seen.export.metadata.deletion_timestamp:
        return _deleted(seen)
    artifact = _made_artifact(seen)
    if artifact is not None:
        # Before anything else: a file that is there is there, whatever happened since.
        return ExportPlan(
            next_status.succeeded(seen, artifact),
            # Whoever makes an export may have put it there; then nothing would take it off.
            remove_finalizer=seen.export.spec.artifact_policy != "Delete" and _is_held(seen),
        )
    if seen.export.spec.cancel:
        return _cancel(seen)
    if seen.job is None:
        return _without_job(seen)
    if _own_job(seen) is None:
        return _foreign_job(seen, seen.job)
    return _with_job(seen, seen.job)


def decide_departed(seen: Observation) -> ExportPlan:
    """What is left to do for an export that was deleted before its end, and that nothing held."""
    status = seen.export.status
    if is_at_work(seen):
        return ExportPlan(status, recheck_after=NODE_GRACE)
    return ExportPlan(status, create_cleanup=None if is_clean(seen) else TASK_TIDY)


def _made_artifact(seen: Observation) -> Artifact | None:
    reported = next(filter(None, map(end_artifact, seen.attempts)), None)
    return reported or cleanup_result(seen.tidy_job, seen.now).artifact


def _own_job(seen: Observation) -> ObservedJob | None:
    """The Job, unless it is another's of the same name."""
    job = seen.job
    return job if job is not None and job.owner_uid == seen.export.metadata.uid else None


def _deleted(seen: Observation) -> ExportPlan:
    """Deleted while unfinished, and something holds it: our finalizer, or another's."""
    status = seen.export.status
    if (job := _own_job(seen)) is not None:
        return ExportPlan(status, delete_job=not job.deleting)
    if is_still_written(seen):
        return ExportPlan(status, recheck_after=NODE_GRACE)
    if not _is_held(seen):
        return ExportPlan(status)
    if status.job_name is None and seen.lost_job is None and not seen.attempts:
        return ExportPlan(status, remove_finalizer=True)
    task, cleanup = TASK_REMOVE, seen.remove_job
    if seen.export.spec.artifact_policy != "Delete":
        task, cleanup = TASK_TIDY, seen.tidy_job
    step, recheck_after = cleanup_step(cleanup, seen.now)
    return ExportPlan(
        status,
        create_cleanup=task if step is CleanupStep.CREATE else None,
        delete_cleanup=task if step is CleanupStep.DELETE else None,
        remove_finalizer=step is CleanupStep.DONE,
        recheck_after=recheck_after,
    )


def _cancel(seen: Observation) -> ExportPlan:
    if (job := _own_job(seen)) is not None:
        return ExportPlan(seen.export.status, delete_job=not job.deleting)
    if not all(is_overdue(pod, seen.now) for pod in seen.pods):
        # Who is told that it is cancelled finds nothing of it.
        return ExportPlan(seen.export.status, recheck_after=NODE_GRACE)
    return _end(seen, Phase.CANCELLED, _CANCELLED, meanwhile=seen.export.status)


def _without_job(seen: Observation) -> ExportPlan:
    if seen.export.status.job_name:
        return _fail(seen, _failure_without_job(seen))
    if seen.target is None:
        return _without_target(seen)
    if seen.target.spec.suspend:
        return ExportPlan(next_status.waiting(seen, _SUSPENDED))
    if seen.place_in_queue is not None:
        return ExportPlan(next_status.queued(seen, seen.place_in_queue))
    needs_finalizer = seen.export.spec.artifact_policy == "Delete" and not _is_held(seen)
    return ExportPlan(next_status.accepted(seen), create_job=True, add_finalizer=needs_finalizer)


def _failure_without_job(seen: Observation) -> Failure:
    fatal = next((t for t in map(end_failure, seen.attempts) if t and t.is_fatal), None)
    if fatal is not None:
        return fatal
    if seen.lost_job is not None and seen.lost_job.failure is not None:
        # Cleared away when it was long over, as Kubernetes does by itself after a time.
        failures = _attempt_failures(seen)
        last = failures[-1] if failures else remembered(seen.export.status)
        return job_failure(seen, seen.lost_job, last)
    return job_deleted(seen)


def _without_target(seen: Observation) -> ExportPlan:
    project = seen.export.spec.project_id
    failure = Failure(
        Reason.TARGET_NOT_FOUND,
        f"There is no ExportTarget for project {project}: create one, then start the export again.",
    )
    age = seen.now - timestamps.from_text(seen.export.metadata.creation_timestamp)
    if age < TARGET_GRACE:
        return ExportPlan(next_status.waiting(seen, None), recheck_after=TARGET_GRACE - age)
    return _fail(seen, failure)


def _foreign_job(seen: Observation, job: ObservedJob) -> ExportPlan:
    age = seen.now - timestamps.from_text(seen.export.metadata.creation_timestamp)
    if age < FOREIGN_JOB_GRACE or (job.deleting and age < FOREIGN_JOB_PATIENCE):
        status = next_status.waiting(seen, _FOREIGN_JOB)
        return ExportPlan(status, recheck_after=timedelta(seconds=2))
    return ExportPlan(next_status.ended(seen, Phase.FAILED, _FOREIGN_JOB), is_failure=True)


def _with_job(seen: Observation, job: ObservedJob) -> ExportPlan:
    newest = seen.attempts[-1] if seen.attempts else None
    failures = _attempt_failures(seen)
    fatal = next((failure for failure in failures if failure.is_fatal), None)
    if fatal is not None:
        return _fail(seen, fatal)
    last = failures[-1] if failures else remembered(seen.export.status)
    if job.failure is not None:
        return _fail(seen, job_failure(seen, job, last))
    if job.complete:
        return _fail(seen, _LOST_REPORT)
    if newest is not None and newest.is_running and newest in seen.pods:
        return ExportPlan(next_status.running(seen, newest), follow_pod=newest.name)
    cannot_start = start_failure(newest) if newest in seen.pods and newest else None
    if cannot_start is not None:
        return ExportPlan(next_status.waiting(seen, cannot_start))
    if failures and not job.suspended:
        return ExportPlan(next_status.waiting(seen, _tried_again(seen, newest, failures[-1])))
    return _not_started(seen, job, newest)


def _tried_again(seen: Observation, newest: ObservedPod | None, failure: Failure) -> Failure:
    if newest is not None and newest.disrupted:
        again = "a disruption, which doesn't count: another pod takes over"
    else:
        used, allowed = next_status.attempts(seen), seen.backoff_limit + 1
        again = f"attempt {used} of {allowed} failed, trying again"
    return Failure(failure.reason, with_aside(failure.message, again))


def _attempt_failures(seen: Observation) -> list[Failure]:
    return [failure for pod in seen.attempts if (failure := _attempt_failure(seen, pod))]


def _attempt_failure(seen: Observation, pod: ObservedPod) -> Failure | None:
    """Why the attempt made no artifact; a pod that vanished while it worked says so itself."""
    if pod in seen.pods or pod.has_ended or not pod.node:
        return end_failure(pod)
    return Failure(Reason.INTERNAL, f"The export's pod {pod.name} was deleted before it was done.")


def _not_started(seen: Observation, job: ObservedJob, pod: ObservedPod | None) -> ExportPlan:
    if job.suspended:
        # Kueue's doing, or an administrator's: that one tells on the Job why.
        message = f"Job {job.name} is suspended: `kubectl describe job {job.name}` says why."
        return ExportPlan(next_status.queued(seen, message))
    age = seen.now - timestamps.from_text(pod.created_at if pod else job.created_at)
    wants_warning = age >= WARNING_PAUSE and seen.warning is None
    if seen.warning or (age >= START_GRACE and not wants_warning):
        stuck = stuck_failure(job.name, pod, seen.warning)
        return ExportPlan(next_status.waiting(seen, stuck), recheck_after=WARNING_PAUSE)
    known = None if pod else remembered(seen.export.status)
    status = next_status.waiting(seen, known)
    return ExportPlan(status, wants_warning=wants_warning, recheck_after=WARNING_PAUSE)


def _fail(seen: Observation, failure: Failure) -> ExportPlan:
    return _end(seen, Phase.FAILED, failure, meanwhile=next_status.waiting(seen, failure))


def _end(
    seen: Observation, phase: Phase, failure: Failure, meanwhile: BackupExportStatus
) -> ExportPlan:
    """The end without an artifact, once it is known that no partial file is left."""
    if is_still_written(seen):
        return ExportPlan(meanwhile, is_failure=True, recheck_after=NODE_GRACE)
    if not is_clean(seen):
        tidied = cleanup_result(seen.tidy_job, seen.now).state
        if tidied is CleanupState.MISSING:
            return ExportPlan(meanwhile, is_failure=True, create_cleanup=TASK_TIDY)
        if tidied is CleanupState.LOST:
            return ExportPlan(meanwhile, is_failure=True, delete_cleanup=TASK_TIDY)
        if tidied is CleanupState.UNDER_WAY:
            return ExportPlan(meanwhile, is_failure=True, recheck_after=CLEANUP_PAUSE)
        # Done, or failed for good: what it could not remove, the project's next export does.
    return ExportPlan(
        next_status.ended(seen, phase, failure),
        is_failure=True,
        remove_finalizer=_is_held(seen),
    )


def _is_held(seen: Observation) -> bool:
    return FINALIZER in seen.export.metadata.finalizers
