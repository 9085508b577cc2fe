"""Whether a storage works, by the newest Job that has checked it."""

from dataclasses import dataclass
from typing import Literal

from backupexport_contract.reasons import ExitCode, Reason
from backupexport_contract.runner_protocol import read_outcome

from backupexport_operator.observed.export_files import start_problem
from backupexport_operator.observed.failure import end_failure, given_up_for, start_failure
from backupexport_operator.observed.observation import SideJob


@dataclass(frozen=True, slots=True)
class StorageState:
    """A condition's status, its reason and its message."""

    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str


UNCHECKED = StorageState("Unknown", "Unchecked", "The storage is being checked.")
NOT_THERE = StorageState("False", Reason.STORAGE_NOT_FOUND, "The chart has no such storage.")


def storage_state(check: SideJob) -> StorageState | None:
    """Returns what the check found; None while it has nothing to tell."""
    job = check.job
    if job is None or job.deleting:
        return None
    pods = sorted(check.pods, key=lambda pod: (pod.created_at, pod.name), reverse=True)
    if job.complete:
        said = [read_outcome(pod.termination_message).message for pod in pods]
        message = next(filter(None, said), None) or "The storage works."
        return StorageState("True", "Checked", message)
    no_causes = [ExitCode.SUCCESS]
    if job.failure == "DeadlineExceeded":
        # What ends its pod then is the deadline.
        no_causes.append(ExitCode.INTERRUPTED)
    failures = [end_failure(pod) for pod in pods if pod.exit_code not in no_causes]
    failure = next(filter(None, failures), None)
    if failure is not None and (job.failure is not None or failure.is_fatal):
        return StorageState("False", failure.reason, failure.message)
    if problem := start_problem(pods):
        found = start_failure(pods[0])
        reason = found.reason if found is not None else Reason.INTERNAL
        is_of_storage = reason is Reason.STORAGE_UNWRITABLE
        message = f"The storage can't be checked: {problem}."
        return StorageState("False" if is_of_storage else "Unknown", reason, message)
    if job.failure is None:
        return None
    if any(pod.started_at for pod in pods):
        message = "The storage has not answered its check in time."
        return StorageState("False", Reason.STORAGE_UNWRITABLE, message)
    if (told := given_up_for(job)) is not None:
        pod, reason, words = told
        message = (
            f"The storage's check has failed with {words}; pod {pod} is gone with its own words."
        )
        return StorageState("False", reason, message)
    message = f"The storage can't be checked: its Job failed ({job.failure})."
    return StorageState("Unknown", Reason.INTERNAL, message)
