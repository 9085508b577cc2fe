"""What a check's Job and pods tell of its storage."""

from dataclasses import replace

import pytest
from backupexport_contract.reasons import ExitCode
from backupexport_contract.runner_protocol import Outcome, outcome_text
from backupexport_operator.observed.jobs_and_pods import ObservedJob, ObservedPod
from backupexport_operator.observed.observation import SideJob
from backupexport_operator.observed.storage_state import storage_state

CREATED = "2026-01-29T15:30:00Z"
JOB = ObservedJob("check-storage-a", "", uid="j", created_at=CREATED)
COMPLETE = replace(JOB, complete=True)
FAILED = replace(JOB, failure="BackoffLimitExceeded")
LATE = replace(JOB, failure="DeadlineExceeded")
BY_CODE = replace(
    JOB,
    failure="PodFailurePolicy",
    failure_message="Container runner for pod ns/a failed with exit code 28 matching FailJob rule",
)
POD = ObservedPod("a", CREATED, job_uid="j", node="n")
RUNNING = replace(POD, started_at=CREATED)
UNBOUND = replace(POD, node="", unschedulable='persistentvolumeclaim "c" not found')
NO_ROOM = replace(POD, node="", unschedulable="Insufficient cpu")


def ended(code: int, message: str) -> ObservedPod:
    told = outcome_text(Outcome(message=message))
    return replace(RUNNING, finished_at=CREATED, exit_code=code, termination_message=told)


@pytest.mark.parametrize(
    ("job", "pods", "expected"),
    [
        (None, [], None),
        (JOB, [], None),
        (JOB, [RUNNING], None),
        (replace(COMPLETE, deleting=True), [ended(0, "It works.")], None),
        (COMPLETE, [ended(0, "It works.")], ("True", "Checked", "It works.")),
        # Its pod is gone.
        (COMPLETE, [], ("True", "Checked", "The storage works.")),
        # It may heal, and is tried again.
        (JOB, [ended(ExitCode.STORAGE_FALTERING, "Cut.")], None),
        (FAILED, [ended(ExitCode.STORAGE_FALTERING, "Cut.")],
         ("False", "StorageUnwritable", "Cut.")),
        (JOB, [ended(ExitCode.STORAGE_UNWRITABLE, "No such bucket.")],
         ("False", "StorageUnwritable", "No such bucket.")),
        (FAILED, [ended(ExitCode.STORAGE_FULL, "Full.")], ("False", "StorageFull", "Full.")),
        (LATE, [RUNNING],
         ("False", "StorageUnwritable", "The storage has not answered its check in time.")),
        # The deadline has ended its pod.
        (LATE, [ended(ExitCode.INTERRUPTED, "Stopped.")],
         ("False", "StorageUnwritable", "The storage has not answered its check in time.")),
        (LATE, [ended(ExitCode.INTERRUPTED, "Stopped."),
                replace(ended(ExitCode.STORAGE_FALTERING, "Cut."), name="0")],
         ("False", "StorageUnwritable", "Cut.")),
        (FAILED, [ended(ExitCode.DUMP_REFUSED, "Odd.")], ("False", "DumpFailed", "Odd.")),
        (BY_CODE, [ended(ExitCode.STORAGE_FULL, "Full.")], ("False", "StorageFull", "Full.")),
        (BY_CODE, [],
         ("False", "StorageFull", "The storage's check has failed with exit code 28, which means "
          "StorageFull; pod a is gone with its own words.")),
        # What keeps the check from its start tells nothing of a bucket, but may of a volume.
        (JOB, [UNBOUND],
         ("False", "StorageUnwritable", "The storage can't be checked: its pod can't start: "
          'persistentvolumeclaim "c" not found.')),
        (LATE, [NO_ROOM],
         ("Unknown", "Unschedulable", "The storage can't be checked: its pod can't start: "
          "Insufficient cpu.")),
        (LATE, [], ("Unknown", "Internal",
                    "The storage can't be checked: its Job failed (DeadlineExceeded).")),
    ],
)  # fmt: skip
def test_the_state(
    job: ObservedJob | None, pods: list[ObservedPod], expected: tuple[str, str, str] | None
) -> None:
    state = storage_state(SideJob(job, pods))
    found = None if state is None else (state.status, state.reason, state.message)
    assert found == expected
