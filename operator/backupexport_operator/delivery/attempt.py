"""What an attempt at a delivery has come to, by its Job and that one's pods; pure."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto

from backupexport_contract.reasons import (
    DELIVERY_REASON_OF_EXIT_CODE,
    FATAL_DELIVERY_EXIT_CODES,
    DeliveryReason,
    ExitCode,
    Reason,
)
from backupexport_contract.runner_protocol import read_outcome

from backupexport_operator.observed.export_files import is_overdue
from backupexport_operator.observed.failure import said, start_failure
from backupexport_operator.observed.jobs_and_pods import ObservedJob, ObservedPod
from backupexport_operator.observed.observation import SideJob


class AttemptState(Enum):
    """How far an attempt is; the container of a STARTING one has not run yet."""

    STARTING = auto()
    WORKING = auto()
    DONE = auto()
    FAILED = auto()


@dataclass(frozen=True, slots=True)
class Attempt:
    """How far an attempt is, and why.

    `reason` is empty if nothing is in its way; `is_fatal` if another attempt would fail alike.
    """

    state: AttemptState
    message: str
    reason: str = ""
    is_fatal: bool = False


# In place of those about an export's Job; what is said of the image fits a delivery's, too.
_START_MESSAGES = {
    Reason.SECRET_INVALID: (
        "The Secret of deliveries.{kind} can't be used: create or correct it ({detail})."
    ),
    Reason.UNSCHEDULABLE: "No node can take the delivery's pod: make room ({detail}).",
    Reason.STORAGE_UNWRITABLE: (
        "The exports' volume can't be mounted for the delivery's pod: check it ({detail})."
    ),
}


def attempt_of(run: SideJob, job: ObservedJob, kind: str, now: datetime) -> Attempt:
    """Returns what `job`, with its pods of `run`, has come to at `now`."""
    pod = _newest_pod(run, job)
    if job.complete or (pod is not None and pod.exit_code == ExitCode.SUCCESS):
        # Even if the Job's deadline passed just then: what is sent is sent.
        return Attempt(AttemptState.DONE, (said(pod) if pod else None) or "It was made.")
    if job.failure is not None or (pod is not None and pod.kept_by):
        return _failed(job, pod)
    if pod is not None and is_overdue(pod, now) and not pod.has_ended:
        # Kubernetes makes no other pod before the node says that this one has ended.
        message = f"The node of the attempt's pod {pod.name} doesn't answer."
        return Attempt(AttemptState.FAILED, message, DeliveryReason.INTERNAL)
    if job.suspended:
        message = f"Job {job.name} is suspended: `kubectl describe job {job.name}` says why."
        return Attempt(AttemptState.STARTING, message)
    if pod is None or pod.started_at is None:
        return _starting(job, pod, kind)
    return Attempt(AttemptState.WORKING, f"Job {job.name} makes it.")


def _failed(job: ObservedJob, pod: ObservedPod | None) -> Attempt:
    if job.failure == "DeadlineExceeded":
        message = "The attempt took too long."
        return Attempt(AttemptState.FAILED, message, DeliveryReason.DEADLINE_EXCEEDED)
    if pod is None or not pod.has_ended:
        message = f"The attempt's Job failed ({job.failure}): {job.failure_message}"
        return Attempt(AttemptState.FAILED, message.rstrip(": "), DeliveryReason.INTERNAL)
    code, reason = pod.exit_code, DeliveryReason.INTERNAL
    if code is None:
        stopped = ": ".join(filter(None, (pod.reason, pod.message)))
    else:
        stopped = ", ".join(filter(None, (pod.ended_by, f"exit code {code}")))
        # A newer runner's code is unknown, the reason that it names maybe not.
        known = {str(reason): reason for reason in DELIVERY_REASON_OF_EXIT_CODE.values()}
        named = known.get(read_outcome(pod.termination_message).reason or "", reason)
        reason = DELIVERY_REASON_OF_EXIT_CODE.get(code, named)
    return Attempt(
        AttemptState.FAILED,
        said(pod) or f"The attempt's pod was stopped ({stopped}).",
        reason,
        is_fatal=code in FATAL_DELIVERY_EXIT_CODES and not pod.disrupted,
    )


def _starting(job: ObservedJob, pod: ObservedPod | None, kind: str) -> Attempt:
    failure = start_failure(pod) if pod is not None else None
    if pod is None or failure is None:
        message = f"No pod of Job {job.name} runs yet: `kubectl describe job {job.name}` says why."
        return Attempt(AttemptState.STARTING, message)
    instead = _START_MESSAGES.get(failure.reason, "").format(
        kind=kind, detail=pod.unschedulable or pod.waiting_message
    )
    return Attempt(AttemptState.STARTING, instead or failure.message, failure.reason)


def _newest_pod(run: SideJob, job: ObservedJob) -> ObservedPod | None:
    """Returns the last pod of this Job, and not of an earlier one that had the same name."""
    pods = [pod for pod in run.pods if pod.job_uid == job.uid]
    return max(pods, key=lambda pod: (pod.created_at, pod.name), default=None)
