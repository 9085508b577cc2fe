"""What a Pod's state means for its export: a reason for programs, a sentence for people."""

from dataclasses import dataclass

from backupexport_contract.reasons import (
    FATAL_EXIT_CODES,
    REASON_OF_EXIT_CODE,
    ExitCode,
    Reason,
)
from backupexport_contract.runner_protocol import Artifact, read_outcome

from backupexport_operator.facts import PodFacts

_SIGKILLED = 137

_IMAGE_TROUBLE = {
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "ImageInspectError",
    "RegistryUnavailable",
    "SignatureValidationFailed",
}


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something is wrong; `is_fatal` where another attempt can't mend it."""

    reason: Reason
    message: str
    is_fatal: bool = False


# What a busy kubelet says of a Secret that is good: it tries again by itself.
_NOT_READ_YET = "failed to sync secret cache"


def start_trouble(pod: PodFacts) -> Trouble | None:
    """Why a pod that has not started can't start for now, or None where it is just young."""
    if pod.unschedulable is not None:
        return Trouble(
            Reason.UNSCHEDULABLE,
            f"No node can take the export's pod: {_sentence(pod.unschedulable)} "
            "Make room, or lower the resources on the ExportTarget.",
        )
    if pod.waiting in _IMAGE_TROUBLE:
        return Trouble(
            Reason.IMAGE_UNAVAILABLE,
            f"The runner's image can't be pulled ({pod.waiting}): "
            f"{_sentence(pod.waiting_message)} Check runner.image and imagePullSecrets.",
        )
    if pod.waiting == "CreateContainerConfigError" and "subPath" in pod.waiting_message:
        return Trouble(
            Reason.STORAGE_UNWRITABLE,
            f"The project's directory can't be mounted: {_sentence(pod.waiting_message)} "
            "Check the exports' volume.",
        )
    if _NOT_READ_YET in pod.waiting_message:
        return None
    if pod.waiting == "CreateContainerConfigError":
        return Trouble(
            Reason.SECRET_INVALID,
            f"The target's Secret can't be used: {_sentence(pod.waiting_message)} "
            "Create or correct it; the export then starts by itself.",
        )
    if pod.waiting in ("CreateContainerError", "RunContainerError"):
        return Trouble(
            Reason.INTERNAL,
            f"The node can't start the runner ({pod.waiting}): {_sentence(pod.waiting_message)}",
        )
    return None


def end_artifact(pod: PodFacts) -> Artifact | None:
    """The artifact that a pod which ended well reports."""
    if pod.exit_code != ExitCode.SUCCESS:
        return None
    return read_outcome(pod.termination_message).artifact


def end_trouble(pod: PodFacts) -> Trouble | None:
    """Why a pod that has ended did not make an artifact; None where it did, or still runs."""
    if pod.exit_code is None and pod.phase == "Failed":
        return Trouble(
            Reason.INTERNAL,
            f"The node ended the export's pod ({pod.reason or 'no reason given'}): "
            f"{_sentence(pod.message)}",
        )
    if pod.exit_code is None or end_artifact(pod) is not None:
        return None
    said = read_outcome(pod.termination_message).message
    if pod.ended_by == "OOMKilled" or (pod.exit_code == _SIGKILLED and said):
        return Trouble(
            Reason.OUT_OF_MEMORY,
            "The export's pod ran out of memory: raise resources.limits.memory on the "
            "ExportTarget (or runner.resources in the chart).",
        )
    if pod.exit_code == ExitCode.SUCCESS:
        return Trouble(
            Reason.INTERNAL,
            "The runner ended well but its report can't be read; the file may be whole: look "
            "for its manifest on the volume, or start the export again.",
            is_fatal=True,
        )
    reason = _reason_of(pod.exit_code)
    if reason is None:
        return Trouble(
            Reason.INTERNAL,
            f"The runner was stopped (exit code {pod.exit_code}"
            f"{', ' + pod.ended_by if pod.ended_by else ''}) before it could finish.",
        )
    return Trouble(
        reason,
        said or f"The runner ended with exit code {pod.exit_code}; its log says more.",
        # A disruption doesn't count, whatever the runner made of it (podFailurePolicy).
        is_fatal=pod.exit_code in FATAL_EXIT_CODES and not pod.disrupted,
    )


def _reason_of(exit_code: int) -> Reason | None:
    try:
        return REASON_OF_EXIT_CODE.get(ExitCode(exit_code))
    except ValueError:
        return None


def _sentence(text: str) -> str:
    text = text.strip()
    return text if not text or text.endswith(".") else text + "."
