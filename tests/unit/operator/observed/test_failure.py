"""What a pod's state is called, and that it is one sentence which says what to do."""

from dataclasses import replace
from typing import Any

import pytest
from backupexport_contract.reasons import ExitCode, Reason
from backupexport_contract.runner_protocol import Outcome, outcome_text
from backupexport_operator.observed.failure import (
    Failure,
    end_failure,
    start_failure,
)
from backupexport_operator.observed.jobs_and_pods import ObservedPod

POD = ObservedPod(name="bex-1-abcde", created_at="2026-01-29T15:30:00Z")
ENDED = replace(POD, node="local", phase="Failed", started_at="2026-01-29T15:30:01Z")


def says(text: str) -> str:
    return outcome_text(Outcome(message=text))


def told(failure: Failure | None) -> tuple[Reason, str]:
    assert failure is not None
    return failure.reason, failure.message


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, "
         "preemption: 0/1 nodes are available.", Reason.UNSCHEDULABLE),
        ("0/3 nodes are available: 3 node(s) had untolerated taint(s).", Reason.UNSCHEDULABLE),
        ('0/1 nodes are available: persistentvolumeclaim "exports" not found.',
         Reason.STORAGE_UNWRITABLE),
        ("0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.",
         Reason.STORAGE_UNWRITABLE),
        ("0/1 nodes are available: 1 node(s) didn't find available persistent volumes to bind.",
         Reason.STORAGE_UNWRITABLE),
        ("0/2 nodes are available: 2 node(s) had volume node affinity conflict.",
         Reason.STORAGE_UNWRITABLE),
    ],
)  # fmt: skip
def test_what_the_scheduler_says_is_about_the_volume_or_not(said: str, reason: Reason) -> None:
    failure = start_failure(replace(POD, unschedulable=said))
    assert told(failure)[0] == reason
    assert told(failure)[1].endswith(f"({said.rstrip('.')}).")


def test_an_image_is_told_alike_between_two_pulls() -> None:
    error = 'failed to pull and unpack image "registry.example/a:1": connection refused'
    pulling = replace(POD, waiting="ErrImagePull", waiting_message=error)
    waiting = replace(
        POD,
        waiting="ImagePullBackOff",
        waiting_message=f'Back-off pulling image "registry.example/a:1": ErrImagePull: {error}',
    )
    assert start_failure(pulling) == start_failure(waiting)
    assert told(start_failure(pulling)) == (
        Reason.IMAGE_UNAVAILABLE,
        "The runner's image can't be pulled: check runner.image and imagePullSecrets of the "
        f"chart ({error}).",
    )


@pytest.mark.parametrize(
    "waiting", ["ErrImagePull", "CreateContainerConfigError", "CreateContainerError"]
)
def test_what_kubernetes_says_in_lines_is_one_line_in_the_message(waiting: str) -> None:
    pod = replace(POD, waiting=waiting, waiting_message="first\n  second.\n")
    assert told(start_failure(pod))[1].endswith("first second).")


def test_a_node_that_says_nothing_leaves_no_empty_brackets() -> None:
    assert told(start_failure(replace(POD, unschedulable="")))[1].endswith("on the ExportTarget.")


@pytest.mark.parametrize(
    ("pod", "reason", "words"),
    [
        (replace(ENDED, exit_code=137, ended_by="OOMKilled"), Reason.OUT_OF_MEMORY, "raise"),
        # The runner lived on when the kernel killed its pg_dump.
        (replace(ENDED, exit_code=137, termination_message=says("pg_dump was killed: raise it.")),
         Reason.OUT_OF_MEMORY, "pg_dump was killed: raise it."),
        (replace(ENDED, exit_code=137, ended_by="OOMKilled",
                 termination_message=says("pg_dump was killed: raise it.")),
         Reason.OUT_OF_MEMORY, "pg_dump was killed: raise it."),
        (replace(ENDED, exit_code=128, ended_by="StartError", termination_message="failed to "
                 "create shim task: container init was OOM-killed (memory limit too low?)"),
         Reason.OUT_OF_MEMORY, "raise resources.limits.memory"),
        (replace(ENDED, exit_code=128, ended_by="StartError",
                 termination_message='exec: "backupexport-runner": not found in $PATH'),
         Reason.INTERNAL, "not found in $PATH"),
        # A kill of which nothing says that it was for memory.
        (replace(ENDED, exit_code=137, ended_by="Error"), Reason.INTERNAL,
         "if that happens again, raise resources.limits.memory on the ExportTarget (exit code 137: "
         "Error)."),
        (replace(ENDED, exit_code=143, ended_by="Error"), Reason.INTERNAL, "was stopped before"),
        (replace(ENDED, exit_code=143, ended_by="Error", disrupted=True), Reason.INTERNAL,
         "had to leave its node: it starts over elsewhere by itself"),
        (replace(ENDED, reason="Evicted", message="The node was low on resource: memory. ",
                 disrupted=True),
         Reason.INTERNAL, "by itself (Evicted: The node was low on resource: memory)."),
        (replace(ENDED, reason="OutOfcpu"), Reason.INTERNAL, "by itself (OutOfcpu)."),
        (replace(ENDED, exit_code=1, ended_by="Error"), Reason.INTERNAL, "exit code 1: Error"),
        (replace(ENDED, exit_code=int(ExitCode.STORAGE_FULL)), Reason.STORAGE_FULL, "exit code 28"),
    ],
)  # fmt: skip
def test_how_a_pod_ended(pod: ObservedPod, reason: Reason, words: str) -> None:
    failure = end_failure(pod)
    assert told(failure)[0] == reason
    assert words in told(failure)[1]
    assert told(failure)[1].endswith(".")


@pytest.mark.parametrize(
    ("exit_code", "outcome", "expected"),
    [
        # Codes that no runner of this version ends with.
        (99, Outcome(message="Do this.", reason="StorageFull"), (Reason.STORAGE_FULL, "Do this.")),
        (99, Outcome(message="Do this.", reason="Novel"), (Reason.INTERNAL, "Do this.")),
        # Of the operator's own reasons, of which no exit code tells.
        (99, Outcome(message="Do this.", reason="Cancelled"), (Reason.INTERNAL, "Do this.")),
        (99, Outcome(message="Do this."), (Reason.INTERNAL, "Do this.")),
        (99, Outcome(reason="StorageFull"), (Reason.INTERNAL, "exit code 99")),
        # Of those it knows the code counts.
        (28, Outcome(message="Do this.", reason="Novel"), (Reason.STORAGE_FULL, "Do this.")),
        (143, Outcome(message="Do this.", reason="Novel"), (Reason.INTERNAL, "was stopped")),
    ],
)
def test_how_a_newer_runner_ended(
    exit_code: int, outcome: Outcome, expected: tuple[Reason, str]
) -> None:
    text = outcome_text(outcome)
    failure = end_failure(replace(ENDED, exit_code=exit_code, termination_message=text))
    assert told(failure)[0] == expected[0]
    assert expected[1] in told(failure)[1]
    assert failure
    assert failure.is_fatal is (exit_code == ExitCode.STORAGE_FULL)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"version": 2, "files": ["a"]}', "newer than the operator"),
        ('{"version": 1}', "its report can't be read"),
        ("", "its report can't be read"),
    ],
)
def test_a_good_end_whose_report_can_not_be_read(text: str, words: str) -> None:
    failure = end_failure(replace(ENDED, exit_code=0, termination_message=text))
    assert told(failure)[0] == Reason.INTERNAL
    assert words in told(failure)[1]
    assert failure
    assert failure.is_fatal


@pytest.mark.parametrize(
    ("pod", "is_fatal"),
    [
        (replace(ENDED, exit_code=int(ExitCode.STORAGE_FULL)), True),
        (replace(ENDED, exit_code=int(ExitCode.STORAGE_FULL), disrupted=True), False),
        (replace(ENDED, exit_code=int(ExitCode.CONNECTION_FAILED)), False),
        (replace(ENDED, exit_code=137, ended_by="OOMKilled"), False),
        (replace(ENDED, exit_code=int(ExitCode.INTERRUPTED)), False),
    ],
)
def test_what_another_attempt_can_mend(pod: ObservedPod, is_fatal: bool) -> None:
    failure = end_failure(pod)
    assert failure is not None
    assert failure.is_fatal is is_fatal


# Each pod fits two causes, of which the first must win; what it is without the first says that the
# second fits, too.
@pytest.mark.parametrize(
    ("pod", "first", "without", "second"),
    [
        (replace(POD, unschedulable='1 Insufficient cpu, persistentvolumeclaim "e" not found.'),
         "The exports' volume isn't there", {"unschedulable": "1 Insufficient cpu."},
         "No node can take the export's pod"),
        (replace(POD, waiting="CreateContainerConfigError", waiting_message="subPath: denied"),
         "The project's directory can't be mounted", {"waiting_message": "denied"},
         "The target's Secret can't be used"),
        (replace(ENDED, exit_code=137, ended_by="OOMKilled", termination_message=says("pg_dump")),
         "pg_dump", {"termination_message": ""}, "The export's pod ran out of memory"),
        (replace(ENDED, exit_code=128, ended_by="StartError", termination_message="OOM-killed"),
         "The export's pod ran out of memory", {"termination_message": ""},
         "The node can't start the runner"),
        (replace(ENDED, exit_code=0, ended_by="OOMKilled"), "The export's pod ran out of memory",
         {"ended_by": "Completed"}, "The runner ended well but its report can't be read"),
        (replace(ENDED, exit_code=22, ended_by="StartError"), "The node can't start the runner",
         {"ended_by": "Error"}, "The runner ended with exit code 22"),
        (replace(ENDED, exit_code=22), "The runner ended with exit code 22", {"exit_code": 1},
         "The runner was stopped before it could finish"),
        (replace(ENDED, reason="Evicted"),
         "The runner was stopped before it could finish: start the export again unless it starts "
         "over by itself (Evicted)", {"exit_code": 1, "ended_by": "Error"},
         "The runner was stopped before it could finish: start the export again unless it starts "
         "over by itself (exit code 1: Error)"),
    ],
)  # fmt: skip
def test_the_first_cause_wins(
    pod: ObservedPod, first: str, without: dict[str, Any], second: str
) -> None:
    failure_of = end_failure if pod.started_at is not None else start_failure
    assert told(failure_of(pod))[1].startswith(first)
    assert told(failure_of(replace(pod, **without)))[1].startswith(second)


@pytest.mark.parametrize("exit_code", [None, *range(256)])
def test_every_end_without_an_artifact_has_a_cause(exit_code: int | None) -> None:
    assert end_failure(replace(ENDED, exit_code=exit_code)) is not None
