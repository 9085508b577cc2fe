"""What a Pod's state means for its export: a reason for programs, a sentence for people."""

import re
from dataclasses import dataclass

from backupexport_contract.reasons import FATAL_EXIT_CODES, REASON_OF_EXIT_CODE, ExitCode, Reason
from backupexport_contract.runner_protocol import Artifact, read_outcome

from backupexport_operator.observed.jobs_and_pods import ObservedPod

_SIGKILLED = 137

# The container was made, and the runtime could not start it.
_NEVER_STARTED = ("StartError", "ContainerCannotRun")

_IMAGE_FAILURE = {
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "ImageInspectError",
    "RegistryUnavailable",
    "SignatureValidationFailed",
}


@dataclass(frozen=True, slots=True)
class Failure:
    """Something is wrong; `is_fatal` where another attempt can't mend it."""

    reason: Reason
    message: str
    is_fatal: bool = False


_OUT_OF_MEMORY = Failure(
    Reason.OUT_OF_MEMORY,
    "The export's pod ran out of memory: raise resources.limits.memory on the "
    "ExportTarget (or runner.resources in the chart).",
)

# https://github.com/kubernetes/kubernetes/tree/master/pkg/scheduler/framework/plugins/volumebinding
_VOLUME_FAILURE = r"persistentvolumeclaim|PersistentVolumeClaim|persistent volume|volume node"

# What a busy kubelet says of a Secret that is good: it tries again by itself.
_NOT_READ_YET = "failed to sync secret cache"


def start_failure(pod: ObservedPod) -> Failure | None:
    """Why a pod that has not started can't start for now, or None where it is just young."""
    if pod.unschedulable is not None:
        return _unschedulable(pod.unschedulable)
    detail = _detail(pod.waiting or "", pod.waiting_message)
    if pod.waiting in _IMAGE_FAILURE:
        return Failure(
            Reason.IMAGE_UNAVAILABLE,
            "The runner's image can't be pulled: check runner.image and imagePullSecrets of the "
            f"chart{_detail(_pull_error(pod.waiting_message))}.",
        )
    if _NOT_READ_YET in pod.waiting_message:
        return None
    if pod.waiting == "CreateContainerConfigError" and "subPath" in pod.waiting_message:
        return Failure(
            Reason.STORAGE_UNWRITABLE,
            "The project's directory can't be mounted: check the exports' volume, which has to "
            f"take writes{detail}.",
        )
    if pod.waiting == "CreateContainerConfigError":
        return Failure(
            Reason.SECRET_INVALID,
            "The target's Secret can't be used: create or correct it, and the export starts by "
            f"itself{detail}.",
        )
    if pod.waiting in ("CreateContainerError", "RunContainerError"):
        return Failure(
            Reason.INTERNAL,
            f"The node can't start the runner: ask the cluster's administrators{detail}.",
        )
    return None


def stuck_failure(job_name: str, pod: ObservedPod | None, warning: str | None) -> Failure:
    """Why an export has not started whose pod tells nothing, or whose Job has no pod.

    `warning` is what Kubernetes warned of in an Event, if anything.
    """
    detail = _detail(warning or "")
    if pod is None:
        return Failure(
            Reason.UNSCHEDULABLE,
            "The export's Job gets no pod: often a quota or an admission rule forbids it, "
            f"`kubectl describe job {job_name}` says more{detail}.",
        )
    if "OOM-killed" in detail:
        return _OUT_OF_MEMORY
    if "Mount" in detail or "Attach" in detail:
        return Failure(
            Reason.STORAGE_UNWRITABLE,
            f"The exports' volume can't be mounted for the export's pod: check it{detail}.",
        )
    return Failure(
        Reason.INTERNAL,
        "The export's pod doesn't start: ask the cluster's administrators, `kubectl describe pod "
        f"{pod.name}` says more{detail}.",
    )


def with_aside(message: str, aside: str) -> str:
    """One sentence still, with `aside` in brackets at its end."""
    return f"{message.rstrip('.')} ({aside})."


def _unschedulable(said: str) -> Failure:
    detail = _detail(said)
    # The scheduler names several causes at once, and knows what it is about the volume first.
    if re.search(_VOLUME_FAILURE, said):
        return Failure(
            Reason.STORAGE_UNWRITABLE,
            "The exports' volume isn't there for the export's pod: create or correct its "
            f"PersistentVolumeClaim, and the export starts by itself{detail}.",
        )
    return Failure(
        Reason.UNSCHEDULABLE,
        "No node can take the export's pod: make room, or lower the resources on the "
        f"ExportTarget{detail}.",
    )


def end_artifact(pod: ObservedPod) -> Artifact | None:
    """The artifact that a pod which ended well reports."""
    if pod.exit_code != ExitCode.SUCCESS:
        return None
    return read_outcome(pod.termination_message).artifact


def end_failure(pod: ObservedPod) -> Failure | None:
    """Why a pod that has ended did not make an artifact; None where it did, or still runs."""
    if pod.exit_code is None and pod.phase == "Failed":
        return _stopped(pod, pod.reason or "no reason given", pod.message)
    if pod.exit_code is None or end_artifact(pod) is not None:
        return None
    said = read_outcome(pod.termination_message).message
    if pod.exit_code == _SIGKILLED and said:
        return Failure(Reason.OUT_OF_MEMORY, said)
    if pod.ended_by == "OOMKilled" or _died_of_memory_at_start(pod):
        return _OUT_OF_MEMORY
    if pod.exit_code == ExitCode.SUCCESS:
        return Failure(
            Reason.INTERNAL,
            "The runner ended well but its report can't be read; the file may be whole: look "
            "for its manifest on the volume, or start the export again.",
            is_fatal=True,
        )
    if pod.ended_by in _NEVER_STARTED:
        return Failure(
            Reason.INTERNAL,
            "The node can't start the runner: ask the cluster's administrators"
            f"{_detail(pod.ended_by, pod.termination_message)}.",
        )
    reason = _reason_of(pod.exit_code)
    if reason is None:
        return _stopped(pod, f"exit code {pod.exit_code}", pod.ended_by)
    return Failure(
        reason,
        said or f"The runner ended with exit code {pod.exit_code}; its log says more.",
        # A disruption doesn't count, whatever the runner made of it (podFailurePolicy).
        is_fatal=pod.exit_code in FATAL_EXIT_CODES and not pod.disrupted,
    )


def _stopped(pod: ObservedPod, *details: str) -> Failure:
    """Something else than the runner ended it: a drain, its node, or somebody's kill."""
    sentence = (
        "The export's pod had to leave its node: it starts over elsewhere by itself"
        if pod.disrupted
        else "The runner was stopped before it could finish: start the export again unless it "
        "starts over by itself"
    )
    return Failure(Reason.INTERNAL, f"{sentence}{_detail(*details)}.")


def _died_of_memory_at_start(pod: ObservedPod) -> bool:
    """Whether the limit is below what runc itself takes, which then says so."""
    return pod.ended_by in _NEVER_STARTED and "OOM-killed" in pod.termination_message


def _reason_of(exit_code: int) -> Reason | None:
    try:
        return REASON_OF_EXIT_CODE.get(ExitCode(exit_code))
    except ValueError:
        return None


def _pull_error(message: str) -> str:
    """What went wrong, alike while the node pulls and while it waits to pull again."""
    return message.partition("ErrImagePull: ")[2] or message


def _detail(*parts: str) -> str:
    """What Kubernetes says, fit to stand in brackets at the end of a sentence."""
    said = ": ".join(flat for part in parts if (flat := " ".join(part.split()).rstrip(".")))
    return f" ({said})" if said else ""
