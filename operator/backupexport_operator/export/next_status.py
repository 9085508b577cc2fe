"""The statuses that a decision may lead to; pure."""

import functools
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from backupexport_contract import timestamps
from backupexport_contract.backup_export import (
    ArtifactStatus,
    BackupExportStatus,
    ProgressStatus,
    RemarkStatus,
    TargetExcludesStatus,
)
from backupexport_contract.deliveries import Deliveries, is_pending
from backupexport_contract.export_target import ExportTarget
from backupexport_contract.kubernetes_model import Condition
from backupexport_contract.reasons import ExitCode, Phase, Reason
from backupexport_contract.runner_protocol import Artifact, Progress, read_outcome

from backupexport_operator.delivery.choice import first_conditions
from backupexport_operator.export.attempts import newest_pod, own_job
from backupexport_operator.export.conditions import with_phase_conditions
from backupexport_operator.manifests.status import (
    SERVER_VERIFIED,
    SERVER_VERIFIED_WORDS,
    ConditionStatus,
    condition_now,
    of_generation,
    with_condition,
)
from backupexport_operator.observed.failure import Failure, end_artifact
from backupexport_operator.observed.jobs_and_pods import ObservedPod
from backupexport_operator.observed.observation import Observation

# The condition that says whether the export has got its Job.
ACCEPTED = "Accepted"
# What Kubernetes says of a pod is in it, of any length; a condition holds 32,768 characters.
_LONGEST_MESSAGE = 8192


def waiting(seen: Observation, failure: Failure | None) -> BackupExportStatus:
    """Returns the status of an export that waits: the phase stays, Pending at first."""
    return _next(seen, seen.export.phase, failure, attempts=attempts(seen))


def not_begun(seen: Observation, failure: Failure) -> BackupExportStatus:
    """Returns the status of an export whose attempts ended before they began.

    It is Pending again, though it was taken for Running while a slow pod looked.
    """
    if _begun(seen):
        return waiting(seen, failure)
    return _next(seen, Phase.PENDING, failure, start_time=None, attempts=0)


def queued(seen: Observation, place: str) -> BackupExportStatus:
    """Returns the status in our queue or Kueue's: no reason, because nothing is wrong."""
    return _next(seen, seen.export.phase, message=place)


def refused(seen: Observation, why: str) -> BackupExportStatus:
    """Returns the status of an export whose Job the API server refuses for now."""
    message = (
        "The Job can't be created: ask the cluster's administrators, the operator goes on trying "
        f"({why})."
    )
    return waiting(seen, Failure(Reason.INTERNAL, message))


def without_target(seen: Observation, failure: Failure) -> BackupExportStatus:
    """Returns the status of an export whose target has gone, and may come back."""
    status = waiting(seen, failure)
    condition = condition_now(seen, ACCEPTED, "False", failure.reason, failure.message)
    return status.model_copy(update={"conditions": with_condition(status.conditions, condition)})


def target_missed_since(seen: Observation) -> datetime:
    """Returns since when the export has been without the target that it had."""
    missing = next(filter(_is_target_missing, seen.export.status.conditions), None)
    return timestamps.from_text(missing.last_transition_time) if missing else seen.now


def _is_target_missing(condition: Condition) -> bool:
    return (condition.type, condition.status, condition.reason) == (
        ACCEPTED, "False", Reason.TARGET_NOT_FOUND
    )  # fmt: skip


def accepted(seen: Observation) -> BackupExportStatus:
    """Returns the status of an export that has a Job."""
    name, place = seen.job_name, seen.place
    status = waiting(seen, None)
    condition = condition_now(
        seen, ACCEPTED, "True", "Accepted", f"Job {name} carries the export out."
    )
    return status.model_copy(
        update={
            "job_name": name,
            "target_excludes": _target_excludes(seen),
            "target_recipients": seen.accepted_export.status.target_recipients,
            "storage": seen.storage_name,
            "storage_root": place.root if place else None,
            "storage_endpoint": place.endpoint if place else None,
            "conditions": with_condition(status.conditions, condition),
        }
    )


def _retention_seconds(seen: Observation) -> int | None:
    """Returns how long the export is kept; a target that goes or changes later changes nothing."""
    status = seen.export.status
    if status.target_name is not None and (status.job_name is not None or seen.target is None):
        return status.retention_seconds
    of_target = seen.target.spec.retention_seconds if seen.target else None
    return seen.export.spec.retention_seconds or of_target or seen.retention_seconds


def _target_deliveries(target: ExportTarget) -> list[str]:
    """Returns the kinds of which the target says anything."""
    given = target.spec.deliveries
    return [kind for kind in Deliveries.kinds() if given and given.settings_of(kind)]


def _target_excludes(seen: Observation) -> TargetExcludesStatus | None:
    recorded = seen.export.status.target_excludes
    if recorded is not None or seen.target is None:
        return recorded
    spec = seen.target.spec
    excludes = {name: getattr(spec, name) for name in TargetExcludesStatus.model_fields}
    return TargetExcludesStatus(**excludes) if any(excludes.values()) else None


def running(seen: Observation, pod: ObservedPod) -> BackupExportStatus:
    """Returns the status of an export whose runner runs in `pod`."""
    status = seen.export.status
    return _next(
        seen,
        Phase.RUNNING,
        start_time=status.start_time or _time(seen, pod.started_at),
        attempts=attempts(seen),
        progress=ProgressStatus.of(seen.progress) if seen.progress else status.progress,
    )


def succeeded(seen: Observation, artifact: Artifact) -> BackupExportStatus:
    """Returns the status of an export whose file is whole under its final name."""
    pod = next((pod for pod in seen.attempts if end_artifact(pod) is not None), None)
    size = artifact.uncompressed_bytes
    return _finished(
        seen,
        Phase.SUCCEEDED,
        conditions=_server_verified(seen, pod),
        started_at=pod.started_at if pod else None,
        completed_at=pod.finished_at if pod else None,
        progress=ProgressStatus.of(Progress(100, size, size)),
        artifact=_placed(seen, artifact),
        target_recipients=seen.accepted_export.status.target_recipients,
        warnings=[RemarkStatus.of(remark) for remark in artifact.warnings],
        restore_hints=[RemarkStatus.of(remark) for remark in artifact.restore_hints],
    )


def _placed(seen: Observation, artifact: Artifact) -> ArtifactStatus:
    """Returns the artifact with where its Job was to write it, whatever its runner knew of that."""
    place = seen.place
    if place is None:
        return ArtifactStatus.of(artifact)
    url = f"{place.root}/{artifact.path}" if place.is_bucket else ""
    told = replace(artifact, storage=place.storage, url=url)
    return ArtifactStatus.of(told, None if place.is_bucket else place.root, place.endpoint)


def ended(seen: Observation, phase: Phase, failure: Failure) -> BackupExportStatus:
    """Returns the status of an export that has failed or is cancelled."""
    started = min((pod.started_at for pod in seen.attempts if pod.started_at), default=None)
    return _finished(seen, phase, failure, started_at=started)


def _server_verified(seen: Observation, pod: ObservedPod | None) -> list[Condition]:
    verified = read_outcome(pod.termination_message).server_verified if pod else None
    if verified is None:
        return []
    status: ConditionStatus = "True" if verified else "False"
    reason, message = SERVER_VERIFIED_WORDS[status]
    return [condition_now(seen, SERVER_VERIFIED, status, reason, message)]


def _finished(
    seen: Observation,
    phase: Phase,
    failure: Failure | None = None,
    *,
    conditions: Iterable[Condition] = (),
    started_at: str | None,
    completed_at: str | None = None,
    **changes: object,
) -> BackupExportStatus:
    """Returns the end's status, with what `cleanup` and `delivery` have to do from now on."""
    spec, status = seen.export.spec, seen.export.status
    completed = timestamps.from_text(completed_at) if completed_at else seen.now
    seconds = _retention_seconds(seen)
    # The node's clock may be behind.
    kept_from = max(completed, seen.now)
    expires = timestamps.to_text(kept_from + timedelta(seconds=seconds)) if seconds else None
    start_time = status.start_time or _time(seen, started_at)
    completion_time = _time(seen, completed_at) or timestamps.to_text(seen.now)
    if start_time is not None:
        # A node's clock may have been set back meanwhile.
        later = max(map(timestamps.from_text, (start_time, completion_time)))
        completion_time = timestamps.to_text(later)
    goes_with_it = phase is Phase.SUCCEEDED and spec.artifact_policy == "Delete"
    deliveries = first_conditions(seen, phase)
    return _next(
        seen,
        phase,
        failure,
        start_time=start_time,
        completion_time=completion_time,
        # A file that was found is some attempt's, seen or not.
        attempts=max(attempts(seen), 1 if phase is Phase.SUCCEEDED else 0),
        expiration_time=expires,
        disposal_pending=(expires is not None or goes_with_it) or None,
        delivery_pending=any(map(is_pending, deliveries)) or None,
        conditions=functools.reduce(with_condition, (*conditions, *deliveries), status.conditions),
        **changes,
    )


def _next(
    seen: Observation, phase: Phase | None, failure: Failure | None = None, **changes: object
) -> BackupExportStatus:
    told: dict[str, object] = {
        "phase": phase,
        "reason": failure.reason if failure else None,
        "message": failure.message[:_LONGEST_MESSAGE] if failure else None,
        "retention_seconds": _retention_seconds(seen),
    }
    if seen.target is not None:
        told["target_name"] = seen.target.metadata.name
        told["target_deliveries"] = _target_deliveries(seen.target)
        told["conditions"] = [c for c in seen.export.status.conditions if not _is_target_missing(c)]
    status = seen.export.status.model_copy(update=told | changes)
    return of_generation(with_phase_conditions(seen, status), seen.export.metadata.generation)


def attempts(seen: Observation) -> int:
    """Returns how many attempts have started, of those that count.

    The number never falls, though pods may be gone.
    """
    return max(seen.export.status.attempts or 0, _begun(seen))


def _begun(seen: Observation) -> int:
    started = sum(1 for pod in seen.attempts if pod.started_at and pod.counts)
    if (job := own_job(seen)) is None:
        return started
    newest = newest_pod(seen)
    goes_on = (
        newest is not None
        and newest in seen.pods
        and newest.started_at
        and newest.exit_code in (None, ExitCode.SUCCESS)
    )
    # Pods that failed before this one may be gone.
    is_more = goes_on and job.pods_made > job.failed_pods
    return max(started, job.failed_pods + (1 if is_more else 0))


def _time(seen: Observation, moment: str | None) -> str | None:
    """Returns a time that a node has told, which was after the export's creation and is past."""
    if moment is None:
        return None
    created = timestamps.from_text(seen.export.metadata.creation_timestamp)
    return timestamps.to_text(max(created, min(timestamps.from_text(moment), seen.now)))
