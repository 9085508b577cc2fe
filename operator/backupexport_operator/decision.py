"""What should be done next for one BackupExport: a pure function of what was observed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from backupexport_contract import timestamps
from backupexport_contract.kubernetes_model import Condition
from backupexport_contract.names import job_name
from backupexport_contract.reasons import Phase, Reason
from backupexport_contract.resources import (
    ArtifactStatus,
    BackupExport,
    BackupExportStatus,
    ProgressStatus,
)
from backupexport_contract.runner_protocol import Artifact, Progress
from backupexport_contract.target_resource import ExportTarget

from backupexport_operator.facts import JobFacts, PodFacts
from backupexport_operator.pod_verdict import Trouble, end_artifact, end_trouble, start_trouble
from backupexport_operator.transition import with_condition

# A target that is applied in the same breath as its export may be seen a moment later.
TARGET_GRACE = timedelta(seconds=10)

# The garbage collector takes its time with the Job of an export that was deleted and made anew.
FOREIGN_JOB_GRACE = timedelta(seconds=60)
# Pulling an image takes its time; a pod this old that tells nothing is stuck at its volume, and
# a Job this old without a pod at a quota or an admission rule.
START_GRACE = timedelta(seconds=120)

_SUSPENDED = Trouble(
    Reason.TARGET_SUSPENDED,
    "The project's ExportTarget is suspended: the export starts when spec.suspend is false.",
)
_FOREIGN_JOB = Trouble(
    Reason.INTERNAL,
    "A Job of this export's name belongs to something else: delete that Job, or make a "
    "BackupExport of another name.",
)


@dataclass(frozen=True, slots=True)
class Observation:
    """Everything a decision rests on; `progress` is the newest that the runner's log told."""

    export: BackupExport
    target: ExportTarget | None
    job: JobFacts | None
    pods: Sequence[PodFacts]
    now: datetime
    backoff_limit: int
    progress: Progress | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """The status that should be, and what to do beside writing it."""

    status: BackupExportStatus
    create_job: bool = False
    delete_job: bool = False
    follow_pod: str | None = None
    recheck_after: timedelta | None = None


def decide(seen: Observation) -> Plan:
    """The next step; deciding twice on the same observation changes nothing more."""
    status = seen.export.status
    if seen.export.phase.is_finished or seen.export.metadata.deletion_timestamp:
        return Plan(status)
    artifact = next(filter(None, map(end_artifact, seen.pods)), None)
    if artifact is not None:
        # Before anything else: a file that is there is there, whatever happened since.
        return Plan(_succeeded(seen, artifact))
    if seen.export.spec.cancel:
        return _cancel(seen)
    if seen.job is None:
        return _without_job(seen)
    if seen.job.owner_uid != seen.export.metadata.uid:
        return _foreign_job(seen, seen.job)
    return _with_job(seen, seen.job)


def _cancel(seen: Observation) -> Plan:
    if seen.job is not None and seen.job.owner_uid == seen.export.metadata.uid:
        return Plan(seen.export.status, delete_job=not seen.job.deleting)
    if seen.pods:
        return Plan(seen.export.status)
    return Plan(
        _finished(seen, Phase.CANCELLED, Trouble(Reason.CANCELLED, "The export was cancelled."))
    )


def _without_job(seen: Observation) -> Plan:
    status = seen.export.status
    if status.job_name:
        lost = next(filter(None, map(end_trouble, seen.pods)), None) or _remembered(status)
        message = "The export's Job was deleted before it was done: start the export again."
        if lost is not None:
            message = f"{message} Before that: {lost.message}"
        return Plan(_finished(seen, Phase.FAILED, Trouble(Reason.JOB_DELETED, message)))
    if seen.target is None:
        return _without_target(seen)
    if seen.target.spec.suspend:
        return Plan(_waiting(seen, _SUSPENDED))
    name = job_name(seen.export.metadata.name)
    accepted = _condition(seen, "Accepted", "Accepted", f"Job {name} carries the export out.")
    status = _waiting(seen, None).model_copy(
        update={
            "job_name": name,
            "conditions": with_condition(status.conditions, accepted),
        }
    )
    return Plan(status, create_job=True)


def _without_target(seen: Observation) -> Plan:
    project = seen.export.spec.project_id
    trouble = Trouble(
        Reason.TARGET_NOT_FOUND,
        f"There is no ExportTarget for project {project}: create one, then start the export again.",
    )
    age = seen.now - timestamps.from_text(seen.export.metadata.creation_timestamp)
    if age < TARGET_GRACE:
        return Plan(_waiting(seen, None), recheck_after=TARGET_GRACE - age)
    return Plan(_finished(seen, Phase.FAILED, trouble))


def _foreign_job(seen: Observation, job: JobFacts) -> Plan:
    age = seen.now - timestamps.from_text(seen.export.metadata.creation_timestamp)
    if job.deleting or age < FOREIGN_JOB_GRACE:
        return Plan(_waiting(seen, _FOREIGN_JOB), recheck_after=timedelta(seconds=2))
    return Plan(_finished(seen, Phase.FAILED, _FOREIGN_JOB))


def _with_job(seen: Observation, job: JobFacts) -> Plan:
    pods = sorted(seen.pods, key=lambda pod: (pod.created_at, pod.name))
    newest = pods[-1] if pods else None
    troubles = [trouble for pod in pods if (trouble := end_trouble(pod)) is not None]
    fatal = next((trouble for trouble in troubles if trouble.is_fatal), None)
    if fatal is not None:
        return Plan(_finished(seen, Phase.FAILED, fatal))
    last = troubles[-1] if troubles else _remembered(seen.export.status)
    if job.failure is not None:
        return Plan(_finished(seen, Phase.FAILED, _job_failure(job, last)))
    if job.complete:
        return Plan(_finished(seen, Phase.FAILED, _lost_report()))
    if newest is not None and newest.is_running:
        return Plan(_running(seen, newest), follow_pod=newest.name)
    cannot_start = start_trouble(newest) if newest is not None else None
    if cannot_start is not None:
        return Plan(_waiting(seen, cannot_start))
    if troubles:
        used, allowed = _attempts(seen), seen.backoff_limit + 1
        again = f"{troubles[-1].message} Attempt {used} of {allowed} failed, trying again."
        return Plan(_waiting(seen, Trouble(troubles[-1].reason, again)))
    return _not_started(seen, job, newest)


def _not_started(seen: Observation, job: JobFacts, pod: PodFacts | None) -> Plan:
    age = seen.now - timestamps.from_text(pod.created_at if pod else job.created_at)
    if age < START_GRACE:
        known = None if pod else _remembered(seen.export.status)
        return Plan(_waiting(seen, known), recheck_after=START_GRACE - age)
    if pod is None:
        stuck = Trouble(
            Reason.UNSCHEDULABLE,
            f"The export's Job has no pod yet: `kubectl describe job {job.name}` says why "
            "(often a quota or an admission rule).",
        )
    else:
        stuck = Trouble(
            Reason.STORAGE_UNWRITABLE,
            f"The export's pod has not started yet: `kubectl describe pod {pod.name}` says why "
            "(often its volume can't be mounted, or its image is slow to pull).",
        )
    return Plan(_waiting(seen, stuck))


def _job_failure(job: JobFacts, last: Trouble | None) -> Trouble:
    if job.failure == "DeadlineExceeded":
        message = (
            "The export took longer than activeDeadlineSeconds: raise it on the BackupExport "
            "or the ExportTarget."
        )
        if last is not None:
            message = f"{message} Before that: {last.message}"
        return Trouble(Reason.DEADLINE_EXCEEDED, message)
    if last is not None:
        return last
    return Trouble(
        Reason.INTERNAL,
        f"The export's Job failed ({job.failure}): {job.failure_message}".strip(),
    )


def _lost_report() -> Trouble:
    return Trouble(
        Reason.INTERNAL,
        "The Job is complete but the pod that made the file is gone with its report: look for "
        "the file's manifest on the volume, or start the export again.",
    )


def _remembered(status: BackupExportStatus) -> Trouble | None:
    if status.reason is None:
        return None
    return Trouble(status.reason, status.message or "")


def _waiting(seen: Observation, trouble: Trouble | None) -> BackupExportStatus:
    """Not running now: Pending at first, but never back from Running."""
    return _next(
        seen,
        phase=seen.export.phase,
        reason=trouble.reason if trouble else None,
        message=trouble.message if trouble else None,
        attempts=_attempts(seen),
    )


def _running(seen: Observation, pod: PodFacts) -> BackupExportStatus:
    status = seen.export.status
    return _next(
        seen,
        phase=Phase.RUNNING,
        reason=None,
        message=None,
        start_time=status.start_time or _text(pod.started_at),
        attempts=_attempts(seen),
        progress=ProgressStatus.of(seen.progress) if seen.progress else status.progress,
    )


def _succeeded(seen: Observation, artifact: Artifact) -> BackupExportStatus:
    pod = next(pod for pod in seen.pods if end_artifact(pod) is not None)
    complete = _condition(seen, "Complete", "Succeeded", "The file is whole under its final name.")
    size = artifact.uncompressed_bytes
    return _next(
        seen,
        phase=Phase.SUCCEEDED,
        reason=None,
        message=None,
        start_time=seen.export.status.start_time or _text(pod.started_at),
        completion_time=_text(pod.finished_at) or timestamps.to_text(seen.now),
        attempts=_attempts(seen),
        progress=ProgressStatus.of(Progress(100, size, size)),
        artifact=ArtifactStatus.of(artifact),
        conditions=with_condition(seen.export.status.conditions, complete),
    )


def _finished(seen: Observation, phase: Phase, trouble: Trouble) -> BackupExportStatus:
    started = min((pod.started_at for pod in seen.pods if pod.started_at), default=None)
    failed = _condition(seen, "Failed", trouble.reason, trouble.message)
    return _next(
        seen,
        phase=phase,
        reason=trouble.reason,
        message=trouble.message,
        start_time=seen.export.status.start_time or _text(started),
        completion_time=timestamps.to_text(seen.now),
        attempts=_attempts(seen),
        conditions=with_condition(seen.export.status.conditions, failed),
    )


def _next(seen: Observation, **changes: object) -> BackupExportStatus:
    generation = seen.export.metadata.generation
    return seen.export.status.model_copy(update={"observed_generation": generation, **changes})


def _attempts(seen: Observation) -> int:
    """Attempts that started; pods may be gone by now, so the number never falls."""
    started = sum(1 for pod in seen.pods if pod.started_at)
    failed = seen.job.failed_pods if seen.job else 0
    return max(seen.export.status.attempts or 0, started, failed)


def _condition(seen: Observation, kind: str, reason: str, message: str) -> Condition:
    return Condition(
        type=kind,
        status="True",
        reason=reason,
        message=message,
        last_transition_time=timestamps.to_text(seen.now),
        observed_generation=seen.export.metadata.generation,
    )


def _text(moment: str | None) -> str | None:
    return timestamps.to_text(timestamps.from_text(moment)) if moment else None
