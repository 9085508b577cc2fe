"""What to do next for an unfinished BackupExport; pure.

The first step that returns a plan decides, and the last one always does.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from backupexport_contract import timestamps
from backupexport_contract.backup_export import BackupExportStatus
from backupexport_contract.readable import readable_size
from backupexport_contract.reasons import NOT_YET_EXIT_CODES, Phase, Reason
from backupexport_contract.runner_protocol import TASK_REMOVE, TASK_TIDY, Artifact

from backupexport_operator.cleanup.decision import CleanupStep, cleanup_step
from backupexport_operator.export import attempts, next_status
from backupexport_operator.export.plan import ExportPlan, end, fail, is_held
from backupexport_operator.observed.export_files import (
    NODE_GRACE,
    CleanupState,
    cleanup_result,
    is_at_work,
    is_clean,
    is_overdue,
    is_still_written,
    silent_attempt,
)
from backupexport_operator.observed.failure import (
    LOOKED_AT_AGAIN,
    TAKEN_OVER,
    TRIED_AGAIN,
    Failure,
    end_artifact,
    job_deleted,
    job_failure,
    remembered,
    start_failure,
    stuck_failure,
    with_aside,
)
from backupexport_operator.observed.jobs_and_pods import ObservedJob
from backupexport_operator.observed.observation import Observation
from backupexport_operator.observed.own_secrets import own_secret_problem
from backupexport_operator.observed.recipients import (
    export_problem,
    lacks_recipient,
    target_problem,
)

# Applied with one command, a target may be seen a moment after its export.
TARGET_GRACE = timedelta(seconds=10)

# The garbage collector takes its time to delete the Job of an earlier export of the name.
FOREIGN_JOB_GRACE = timedelta(seconds=60)
FOREIGN_JOB_PATIENCE = timedelta(minutes=10)
# To pull an image takes its time; a pod or a Job this old that tells nothing is stuck.
START_GRACE = timedelta(seconds=120)
# For so long after its Job a file whose report is lost is looked for, though nobody can look.
LOOK_PATIENCE = timedelta(minutes=30)
# If a pod tells nothing, its Events may: they are read this late, and this often.
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
_WITHOUT_RECIPIENTS = Failure(
    Reason.ENCRYPTION_REQUIRED,
    "The export's Job was made without its recipients, by an operator that knew none: start the "
    "export again.",
)
_LOOKED_FOR = Failure(
    Reason.INTERNAL,
    "The Job is complete, but its pod is gone with its report: its file is looked for.",
)
_NOT_LOOKED_FOR = Failure(
    Reason.INTERNAL,
    "The Job was complete, but its pod is gone with its report, and nobody could look for the "
    "file: it may be whole, so look for its manifest in its storage, or start the export again.",
)
_LOST_REPORT = Failure(
    Reason.INTERNAL,
    "The Job is complete, but its pod is gone with its report and no whole file is in its "
    "storage: start the export again.",
)


def decide(seen: Observation) -> ExportPlan:
    """Returns the next step; to decide twice on the same observation changes nothing more."""
    if seen.export.phase.is_finished:
        return ExportPlan(seen.export.status)
    own = attempts.own_job(seen)
    if own is not None and not seen.export.status.job_name:
        # Made just now, or before a crash.  The status must have its name before it is deleted:
        # else another one would be made, and nobody would look for what this one left.
        status = next_status.accepted(seen)
        seen = replace(seen, export=seen.export.model_copy(update={"status": status}))
    if own is not None and own.deleting and not is_still_written(seen):
        # Deleted in the foreground it stays for as long as its pod does, on a dead node for ever.
        seen = replace(seen, job=None, lost_job=own)
    plan = _next_step(seen)
    has_ended = plan.status.phase is not None and plan.status.phase.is_finished
    if has_ended and attempts.own_job(seen) is not None and any(pod.kept_by for pod in seen.pods):
        # Else the Job would wait for its deadline, or begin anew when the other container fails.
        return replace(plan, delete_job=True)
    return plan


def _next_step(seen: Observation) -> ExportPlan:
    return (
        # Whoever deletes an export doesn't wait for its file.
        _deleted(seen)
        # A file that is there is there, whatever has happened since.
        or _succeeded(seen)
        or _cancelled(seen)
        or _made_without_recipients(seen)
        or (_without_job(seen) if seen.job is None else _with_job(seen, seen.job))
    )


def decide_departed(seen: Observation) -> ExportPlan:
    """Returns what is left to do for an export that is gone before its end."""
    status = seen.export.status
    if is_at_work(seen):
        return ExportPlan(status, recheck_after=NODE_GRACE)
    return ExportPlan(status, create_cleanup=None if is_clean(seen) else TASK_TIDY)


def _deleted(seen: Observation) -> ExportPlan | None:
    """A finalizer holds the export, ours or another's."""
    if seen.export.metadata.deletion_timestamp is None:
        return None
    status = seen.export.status
    if (job := attempts.own_job(seen)) is not None:
        return ExportPlan(status, delete_job=not job.deleting)
    if is_still_written(seen):
        return ExportPlan(status, delete_pod=attempts.orphan(seen), recheck_after=NODE_GRACE)
    if not is_held(seen):
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


def _succeeded(seen: Observation) -> ExportPlan | None:
    reported = next(filter(None, map(end_artifact, seen.attempts)), None)
    artifact = reported or cleanup_result(seen.tidy_job, seen.now).artifact
    if artifact is None:
        return None
    if (failure := _not_encrypted(seen, artifact)) is not None:
        return fail(seen, failure)
    return ExportPlan(
        next_status.succeeded(seen, artifact),
        # Its author may have put our finalizer there, and nothing else would take it off.
        remove_finalizer=seen.export.spec.artifact_policy != "Delete" and is_held(seen),
    )


def _not_encrypted(seen: Observation, artifact: Artifact) -> Failure | None:
    """An operator or a runner from before encryption knows of no recipients."""
    accepted = seen.accepted_export
    if not accepted.recipients or (artifact.encrypted_to and artifact.path == accepted.path):
        return None
    where = f" on {seen.place}" if seen.place else ""
    message = (
        f"The file {artifact.path}{where} is not encrypted as the export asked: an older operator "
        "or runner wrote it. Remove that file, then start the export again."
    )
    return Failure(Reason.ENCRYPTION_REQUIRED, message)


def _made_without_recipients(seen: Observation) -> ExportPlan | None:
    own = attempts.own_job(seen)
    job = own or seen.lost_job
    if job is None or job.recipients or not seen.accepted_export.recipients:
        return None
    plan = fail(seen, _WITHOUT_RECIPIENTS)
    return replace(plan, delete_job=own is not None and not own.deleting)


def _cancelled(seen: Observation) -> ExportPlan | None:
    if not seen.export.spec.cancel:
        return None
    if (job := attempts.own_job(seen)) is not None:
        return ExportPlan(seen.export.status, delete_job=not job.deleting)
    if not all(is_overdue(pod, seen.now) or attempts.stays(pod) for pod in seen.pods):
        # The status says Cancelled only when no pod of the export is left that will go.
        return ExportPlan(seen.export.status, recheck_after=NODE_GRACE)
    return end(seen, Phase.CANCELLED, _CANCELLED, meanwhile=seen.export.status)


def _job_gone(seen: Observation) -> ExportPlan | None:
    if not seen.export.status.job_name:
        return None
    if (failed := _failed_for_good(seen)) is not None:
        return failed
    lost = seen.lost_job
    if lost.complete if lost is not None else _told_that_it_is_looked_for(seen):
        return _report_lost(seen, None)
    if seen.lost_job is not None and seen.lost_job.failure is not None:
        # Kubernetes deletes a Job some time after its end.
        return fail(seen, job_failure(seen, seen.lost_job, attempts.last_failure(seen)))
    return fail(seen, job_deleted(seen))


def _without_target(seen: Observation) -> ExportPlan | None:
    if seen.target is not None:
        return None
    if (name := seen.export.status.target_name) is not None:
        return _target_gone(seen, name)
    age = seen.now - timestamps.from_text(seen.export.metadata.creation_timestamp)
    if age < TARGET_GRACE:
        return ExportPlan(next_status.waiting(seen, None), recheck_after=TARGET_GRACE - age)
    project = seen.export.spec.project_id
    message = (
        f"There is no ExportTarget for project {project}: create one, then start the export again."
    )
    return fail(seen, Failure(Reason.TARGET_NOT_FOUND, message))


def _target_gone(seen: Observation, name: str) -> ExportPlan:
    """It may be made anew, as tools do that replace what they can't change."""
    left = next_status.target_missed_since(seen) + seen.target_patience - seen.now
    gone = f"The ExportTarget {name} of project {seen.export.spec.project_id} is gone"
    if left > timedelta(0):
        message = f"{gone}: create it again, and the export goes on by itself."
        failure = Failure(Reason.TARGET_NOT_FOUND, message)
        return ExportPlan(next_status.without_target(seen, failure), recheck_after=left)
    message = f"{gone}: create it again, then start the export again."
    return fail(seen, Failure(Reason.TARGET_NOT_FOUND, message))


def _target_suspended(seen: Observation) -> ExportPlan | None:
    is_suspended = seen.target is not None and seen.target.spec.suspend
    return ExportPlan(next_status.waiting(seen, _SUSPENDED)) if is_suspended else None


def _room_used_up(seen: Observation) -> ExportPlan | None:
    stored, limit = seen.stored_bytes, seen.stored_limit
    if seen.room_bytes != 0 or stored is None or limit is None:
        return None
    message = (
        f"The project's files take {readable_size(stored)} of maxStoredBytes, "
        f"{readable_size(limit)}: remove old exports with their files, or have an administrator "
        "raise it on the ExportTarget or in the chart, and the export starts by itself."
    )
    return ExportPlan(next_status.waiting(seen, Failure(Reason.STORAGE_FULL, message)))


def _secret_refused(seen: Observation) -> ExportPlan | None:
    problem = own_secret_problem(seen.target, seen.own_secrets)
    return fail(seen, Failure(Reason.SECRET_INVALID, problem)) if problem else None


def _encryption_refused(seen: Observation) -> ExportPlan | None:
    if seen.target is None:
        return None
    if (problem := export_problem(seen.export) or target_problem(seen.target)) is not None:
        message = f"{problem} Then start the export again."
        return fail(seen, Failure(Reason.RECIPIENT_INVALID, message))
    if not lacks_recipient(seen.export, seen.target):
        return None
    message = (
        f"ExportTarget {seen.target.metadata.name} wants exports to be encrypted: name a recipient "
        "in encryptTo, or in encryption.recipients of the target, then start the export again."
    )
    return fail(seen, Failure(Reason.ENCRYPTION_REQUIRED, message))


def _storage_missing(seen: Observation) -> ExportPlan | None:
    if seen.place is not None or seen.target is None:
        return None
    message = (
        f"The chart has no storage {seen.storage_name}, which ExportTarget "
        f"{seen.target.metadata.name} names: add it to `storages`, or name another one in "
        "spec.storage, and the export starts by itself."
    )
    return ExportPlan(next_status.waiting(seen, Failure(Reason.STORAGE_NOT_FOUND, message)))


def _in_queue(seen: Observation) -> ExportPlan | None:
    place = seen.place_in_queue
    return ExportPlan(next_status.queued(seen, place)) if place is not None else None


def _startable(seen: Observation) -> ExportPlan:
    needs_finalizer = seen.export.spec.artifact_policy == "Delete" and not is_held(seen)
    return ExportPlan(next_status.accepted(seen), create_job=True, add_finalizer=needs_finalizer)


def _behind_another(seen: Observation, job: ObservedJob) -> ExportPlan | None:
    if attempts.own_job(seen) is not None:
        return None
    age = seen.now - timestamps.from_text(seen.export.metadata.creation_timestamp)
    if age < FOREIGN_JOB_GRACE or (job.deleting and age < FOREIGN_JOB_PATIENCE):
        status = next_status.waiting(seen, _FOREIGN_JOB)
        return ExportPlan(status, recheck_after=timedelta(seconds=2))
    return ExportPlan(next_status.ended(seen, Phase.FAILED, _FOREIGN_JOB), is_failure=True)


def _failed_for_good(seen: Observation) -> ExportPlan | None:
    fatal = next((failure for failure in attempts.attempt_failures(seen) if failure.is_fatal), None)
    return fail(seen, fatal) if fatal is not None else None


def _job_failed(seen: Observation, job: ObservedJob) -> ExportPlan | None:
    failed = job.failure is not None
    return fail(seen, job_failure(seen, job, attempts.last_failure(seen))) if failed else None


def _told_that_it_is_looked_for(seen: Observation) -> Failure | None:
    known = remembered(seen.export.status)
    is_that = known is not None and known.message.startswith(_LOOKED_FOR.message.rstrip("."))
    return known if is_that else None


def _report_lost(seen: Observation, job: ObservedJob | None) -> ExportPlan:
    """The Job was complete, and `_succeeded` has found neither a report nor a whole file."""
    tidied = cleanup_result(seen.tidy_job, seen.now)
    meanwhile = next_status.waiting(seen, _told_that_it_is_looked_for(seen) or _LOOKED_FOR)
    if tidied.state is CleanupState.MISSING and not is_still_written(seen):
        # Though every pod that is known was clean: the one that wrote the file is not.
        return ExportPlan(meanwhile, is_failure=True, create_cleanup=TASK_TIDY)
    if tidied.state is not CleanupState.FAILED:
        return end(seen, Phase.FAILED, _LOST_REPORT, meanwhile=meanwhile)
    if (
        job is None
        or seen.now >= timestamps.from_text(job.completed_at or job.created_at) + LOOK_PATIENCE
    ):
        return end(seen, Phase.FAILED, _NOT_LOOKED_FOR, meanwhile=meanwhile)
    # Nobody could look, so the file may be there: it is looked for again.
    why = with_aside(_LOOKED_FOR.message, tidied.message.rstrip(".") or "nobody could look yet")
    step, left = cleanup_step(seen.tidy_job, seen.now)
    return ExportPlan(
        next_status.waiting(seen, Failure(_LOOKED_FOR.reason, why)),
        is_failure=True,
        delete_cleanup=TASK_TIDY if step is CleanupStep.DELETE else None,
        recheck_after=left,
    )


def _silent_node(seen: Observation) -> ExportPlan | None:
    pod = silent_attempt(seen)
    if pod is None:
        return None
    # What makes Kubernetes take the pod for failed, so that the Job replaces it:
    # https://kubernetes.io/docs/concepts/cluster-administration/node-shutdown/#non-graceful-node-shutdown
    message = (
        f"Node {pod.node} doesn't answer, so pod {pod.name} neither ends nor is replaced: bring "
        "the node back, or, if it is off for good, delete it or give it the taint "
        "node.kubernetes.io/out-of-service, and the export starts over by itself."
    )
    return ExportPlan(next_status.waiting(seen, Failure(Reason.INTERNAL, message)))


def _running(seen: Observation) -> ExportPlan | None:
    newest = attempts.newest_pod(seen)
    if newest is None or not newest.is_running or newest not in seen.pods:
        return None
    if (left := attempts.before_it_begins(seen, newest)) is not None:
        failures = attempts.attempt_failures(seen)
        status = next_status.waiting(seen, failures[-1] if failures else None)
        if not failures:
            # That it has begun is told a moment later, with the phase: one write, not two.
            status = status.model_copy(update={"attempts": seen.export.status.attempts})
        return ExportPlan(status, follow_pod=newest.name, recheck_after=left)
    return ExportPlan(
        next_status.running(seen, newest),
        follow_pod=newest.name,
        recheck_after=attempts.until_overdue(newest, seen.now),
    )


def _cannot_start(seen: Observation) -> ExportPlan | None:
    newest = attempts.newest_pod(seen)
    failure = start_failure(newest) if newest is not None and newest in seen.pods else None
    return ExportPlan(next_status.waiting(seen, failure)) if failure is not None else None


def _tried_again(seen: Observation, job: ObservedJob) -> ExportPlan | None:
    failures, newest = attempts.attempt_failures(seen), attempts.newest_pod(seen)
    if not failures or job.suspended:
        return None
    last = failures[-1]
    status_with: Callable[[Observation, Failure], BackupExportStatus] = next_status.waiting
    if newest is not None and newest.exit_code in NOT_YET_EXIT_CODES:
        again = LOOKED_AT_AGAIN
        status_with = next_status.not_begun
    elif newest is not None and newest.disrupted:
        again = TAKEN_OVER
    else:
        used, allowed = next_status.attempts(seen), seen.backoff_limit + 1
        again = TRIED_AGAIN.format(used=used, allowed=allowed)
    left = attempts.until_sidecars_are_late(seen, newest)
    delete_pod = None
    if newest is not None and left is not None and left <= timedelta():
        # The Job makes no other pod while this one is there.
        kept_by = ", ".join(newest.kept_by)
        again = f"{again}; pod {newest.name} is deleted, as container {kept_by} doesn't end"
        delete_pod, left = newest if newest.deletes_at is None else None, None
    failure = Failure(last.reason, with_aside(last.message, again))
    return ExportPlan(status_with(seen, failure), delete_pod=delete_pod, recheck_after=left)


def _job_suspended(seen: Observation, job: ObservedJob) -> ExportPlan | None:
    if not job.suspended:
        return None
    message = f"Job {job.name} is suspended: `kubectl describe job {job.name}` says why."
    return ExportPlan(next_status.queued(seen, message))


def _not_started(seen: Observation, job: ObservedJob) -> ExportPlan:
    pod = attempts.newest_pod(seen)
    age = seen.now - timestamps.from_text(pod.created_at if pod else job.created_at)
    wants_warning = age >= WARNING_PAUSE and seen.warning is None
    # One that has had pods waits before it makes another, or its watch is ahead of the pods'.
    is_late = age >= START_GRACE and (pod is not None or not job.pods_made)
    warning = seen.warning
    if pod is not None and pod.node and (warning or "").startswith("FailedScheduling"):
        # A node was found since.
        warning = ""
    if warning or (is_late and not wants_warning):
        stuck = stuck_failure(job.name, pod, warning)
        return ExportPlan(next_status.waiting(seen, stuck), recheck_after=WARNING_PAUSE)
    status = next_status.waiting(seen, None if pod else remembered(seen.export.status))
    return ExportPlan(status, wants_warning=wants_warning, recheck_after=WARNING_PAUSE)


def _without_job(seen: Observation) -> ExportPlan:
    return (
        # It was made: another one would write the file once more.
        _job_gone(seen)
        or _without_target(seen)
        or _secret_refused(seen)
        or _encryption_refused(seen)
        or _target_suspended(seen)
        or _storage_missing(seen)
        or _room_used_up(seen)
        or _in_queue(seen)
        or _startable(seen)
    )


def _with_job(seen: Observation, job: ObservedJob) -> ExportPlan:
    return (
        # Another's Job of the name tells nothing of this export.
        _behind_another(seen, job)
        # The export has failed, though its Job may not have noticed yet.
        or _failed_for_good(seen)
        or _job_failed(seen, job)
        or (_report_lost(seen, job) if job.complete else None)
        or _silent_node(seen)
        # The newest pod tells more than the failures of those before it.
        or _running(seen)
        or _cannot_start(seen)
        or _tried_again(seen, job)
        # Kueue, or an administrator, holds it back: a Job that waits for its turn is not stuck.
        or _job_suspended(seen, job)
        # What is left: a Job without a pod, or a pod that tells nothing.
        or _not_started(seen, job)
    )
