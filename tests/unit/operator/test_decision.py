"""What the operator does next, as tables of what it sees."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from backupexport_contract.names import job_name
from backupexport_contract.reasons import ExitCode, Phase, Reason
from backupexport_contract.resources import BackupExport
from backupexport_contract.runner_protocol import Artifact, Outcome, Progress, outcome_text
from backupexport_contract.target_resource import ExportTarget
from backupexport_operator.decision import (
    FOREIGN_JOB_GRACE,
    START_GRACE,
    TARGET_GRACE,
    Observation,
    Plan,
    decide,
)
from backupexport_operator.facts import JobFacts, PodFacts

CREATED = "2026-01-29T15:30:00Z"
NOW = datetime(2026, 1, 29, 15, 31, 0, tzinfo=UTC)
LATER = "2026-01-29T15:30:30Z"
JOB = JobFacts(name=job_name("nightly"), owner_uid="uid-1", created_at=CREATED)
POD = PodFacts(name="pod-a", created_at=CREATED)
ARTIFACT = Artifact("p/f.sql.zst", 1024, 4096, "ab", "17.5", "17.6")
DONE = replace(
    POD,
    started_at=CREATED,
    finished_at=LATER,
    exit_code=0,
    termination_message=outcome_text(Outcome(ARTIFACT)),
)
TARGET = ExportTarget.model_validate(
    {"metadata": {"name": "t"}, "spec": {"projectId": "p", "secretRef": {"name": "s"}}}
)


def export(spec: dict[str, Any] | None = None, **status: Any) -> BackupExport:
    return BackupExport.model_validate(
        {
            "metadata": {
                "name": "nightly",
                "uid": "uid-1",
                "generation": 1,
                "creationTimestamp": CREATED,
            },
            "spec": {"projectId": "p", **(spec or {})},
            "status": status,
        }
    )


ACCEPTED = export(jobName=JOB.name, phase="Pending")
RUNNING = export(jobName=JOB.name, phase="Running", startTime=CREATED, attempts=1)


def seen(of: BackupExport, *pods: PodFacts, **changes: Any) -> Observation:
    facts: dict[str, Any] = {"target": TARGET, "job": JOB, "now": NOW, "backoff_limit": 4}
    return Observation(export=of, pods=pods, **(facts | changes))


def ended(exit_code: int, message: str | None = None, **changes: Any) -> PodFacts:
    return replace(
        POD,
        started_at=CREATED,
        finished_at=LATER,
        exit_code=exit_code,
        termination_message=outcome_text(Outcome(message=message)) if message else "",
        **changes,
    )


def outcome(plan: Plan) -> tuple[Phase | None, Reason | None]:
    return plan.status.phase, plan.status.reason


def test_a_new_export_gets_its_job() -> None:
    plan = decide(seen(export(), job=None))
    assert plan.create_job
    assert outcome(plan) == (Phase.PENDING, None)
    assert plan.status.job_name == JOB.name
    assert [c.type for c in plan.status.conditions] == ["Accepted"]


def test_a_suspended_target_holds_the_export_back_and_says_so() -> None:
    spec = TARGET.spec.model_copy(update={"suspend": True})
    plan = decide(seen(export(), job=None, target=TARGET.model_copy(update={"spec": spec})))
    assert not plan.create_job
    assert outcome(plan) == (Phase.PENDING, Reason.TARGET_SUSPENDED)


def test_a_missing_target_is_waited_for_a_moment_and_then_fails() -> None:
    young = decide(seen(export(), job=None, target=None, now=NOW - timedelta(seconds=58)))
    assert outcome(young) == (Phase.PENDING, None)
    assert young.recheck_after == TARGET_GRACE - timedelta(seconds=2)
    old = decide(seen(export(), job=None, target=None))
    assert outcome(old) == (Phase.FAILED, Reason.TARGET_NOT_FOUND)


@pytest.mark.parametrize(
    ("pod", "reason"),
    [
        (replace(POD, unschedulable="0/1 nodes are available"), Reason.UNSCHEDULABLE),
        (replace(POD, waiting="ImagePullBackOff"), Reason.IMAGE_UNAVAILABLE),
        (replace(POD, waiting="ErrImagePull"), Reason.IMAGE_UNAVAILABLE),
        (
            replace(POD, waiting="CreateContainerConfigError", waiting_message="secret not found"),
            Reason.SECRET_INVALID,
        ),
        (
            replace(
                POD,
                waiting="CreateContainerConfigError",
                waiting_message="failed to sync secret cache: timed out waiting for the condition",
            ),
            None,
        ),
        (
            replace(POD, waiting="CreateContainerConfigError", waiting_message="prepare subPath"),
            Reason.STORAGE_UNWRITABLE,
        ),
        (replace(POD, waiting="CreateContainerError"), Reason.INTERNAL),
        (replace(POD, waiting="ContainerCreating"), None),
        (POD, None),
    ],
)
def test_what_cannot_start_says_so_while_pending(pod: PodFacts, reason: Reason | None) -> None:
    assert outcome(decide(seen(ACCEPTED, pod))) == (Phase.PENDING, reason)


@pytest.mark.parametrize(
    ("pods", "reason"), [((POD,), Reason.STORAGE_UNWRITABLE), ((), Reason.UNSCHEDULABLE)]
)
def test_what_tells_nothing_for_long_is_said_to_be_stuck(pods: Any, reason: Reason) -> None:
    young = decide(seen(ACCEPTED, *pods))
    assert outcome(young) == (Phase.PENDING, None)
    assert young.recheck_after is not None
    assert outcome(decide(seen(ACCEPTED, *pods, now=NOW + START_GRACE))) == (Phase.PENDING, reason)


def test_a_pod_that_its_node_ended_says_so() -> None:
    pod = replace(POD, phase="Failed", reason="OutOfcpu", message="Node has no cpu.")
    plan = decide(seen(ACCEPTED, pod, job=replace(JOB, failure="BackoffLimitExceeded")))
    assert "Node has no cpu." in (plan.status.message or "")


def test_a_running_pod_means_running_and_is_followed() -> None:
    pod = replace(POD, started_at=LATER)
    plan = decide(seen(ACCEPTED, pod, progress=Progress(42, 42, 100)))
    assert outcome(plan) == (Phase.RUNNING, None)
    assert plan.follow_pod == pod.name
    assert plan.status.start_time == "2026-01-29T15:30:30.000Z"
    assert plan.status.attempts == 1
    assert plan.status.progress is not None
    assert plan.status.progress.display == "42%"


def test_the_runners_report_means_succeeded_before_the_job_says_so() -> None:
    plan = decide(seen(RUNNING, DONE))
    assert outcome(plan) == (Phase.SUCCEEDED, None)
    assert plan.status.artifact is not None
    assert plan.status.artifact.sha256 == "ab"
    assert plan.status.artifact.display_size == "1.0 KiB"
    assert plan.status.progress is not None
    assert (plan.status.progress.percent, plan.status.progress.dumped_bytes) == (100, 4096)
    assert plan.status.completion_time == "2026-01-29T15:30:30.000Z"


@pytest.mark.parametrize(
    "changes",
    [
        {"job": None},
        {"job": replace(JOB, failure="DeadlineExceeded")},
        {"target": None},
        {"job": replace(JOB, deleting=True)},
    ],
)
def test_a_file_that_is_there_is_a_success_whatever_happened_since(changes: Any) -> None:
    assert decide(seen(RUNNING, DONE, **changes)).status.phase == Phase.SUCCEEDED
    cancelled = export({"cancel": True}, jobName=JOB.name, phase="Running")
    assert decide(seen(cancelled, DONE, **changes)).status.phase == Phase.SUCCEEDED


@pytest.mark.parametrize(
    ("exit_code", "reason"),
    [
        (ExitCode.BAD_REQUEST, Reason.INTERNAL),
        (ExitCode.SECRET_INVALID, Reason.SECRET_INVALID),
        (ExitCode.AUTHENTICATION_FAILED, Reason.AUTHENTICATION_FAILED),
        (ExitCode.DATABASE_NOT_FOUND, Reason.DATABASE_NOT_FOUND),
        (ExitCode.PERMISSION_DENIED, Reason.PERMISSION_DENIED),
        (ExitCode.SERVER_VERSION_UNSUPPORTED, Reason.SERVER_VERSION_UNSUPPORTED),
        (ExitCode.STORAGE_FULL, Reason.STORAGE_FULL),
        (ExitCode.STORAGE_UNWRITABLE, Reason.STORAGE_UNWRITABLE),
    ],
)
def test_what_cannot_heal_fails_at_once(exit_code: int, reason: Reason) -> None:
    plan = decide(seen(RUNNING, ended(exit_code, "Do this.")))
    assert outcome(plan) == (Phase.FAILED, reason)
    assert plan.status.message == "Do this."
    assert [c.type for c in plan.status.conditions] == ["Failed"]


@pytest.mark.parametrize(
    "pod",
    [
        ended(ExitCode.CONNECTION_FAILED, "The server refuses."),
        ended(ExitCode.DUMP_FAILED, "It broke."),
        ended(137, ended_by="OOMKilled"),
        ended(137),
        ended(143),
        ended(1),
        ended(ExitCode.AUTHENTICATION_FAILED, "Wrong.", disrupted=True),
    ],
)
def test_what_may_heal_is_tried_again_and_says_why(pod: PodFacts) -> None:
    plan = decide(seen(RUNNING, pod))
    assert plan.status.phase == Phase.RUNNING
    assert plan.status.reason is not None
    assert "trying again" in (plan.status.message or "")
    given_up = decide(seen(RUNNING, pod, job=replace(JOB, failure="BackoffLimitExceeded")))
    assert given_up.status.phase == Phase.FAILED
    assert given_up.status.reason == plan.status.reason


def test_out_of_memory_names_what_to_raise() -> None:
    failed = replace(JOB, failure="BackoffLimitExceeded")
    plan = decide(seen(RUNNING, ended(137, ended_by="OOMKilled"), job=failed))
    assert outcome(plan) == (Phase.FAILED, Reason.OUT_OF_MEMORY)
    assert "resources.limits.memory" in (plan.status.message or "")


def test_the_deadline_keeps_what_was_wrong_before() -> None:
    stuck = export(
        jobName=JOB.name, phase="Pending", reason="Unschedulable", message="No node can."
    )
    plan = decide(seen(stuck, job=replace(JOB, failure="DeadlineExceeded")))
    assert outcome(plan) == (Phase.FAILED, Reason.DEADLINE_EXCEEDED)
    assert "No node can." in (plan.status.message or "")


def test_a_job_deleted_by_hand_is_a_failure_and_not_made_again() -> None:
    plan = decide(seen(RUNNING, job=None))
    assert outcome(plan) == (Phase.FAILED, Reason.JOB_DELETED)
    assert not plan.create_job


def test_a_job_of_something_else_is_left_alone() -> None:
    foreign = replace(JOB, owner_uid="uid-0")
    plan = decide(seen(export(), job=foreign, now=NOW - timedelta(seconds=1)))
    assert outcome(plan) == (Phase.PENDING, Reason.INTERNAL)
    plan = decide(seen(export(), job=foreign, now=NOW + FOREIGN_JOB_GRACE))
    assert outcome(plan) == (Phase.FAILED, Reason.INTERNAL)
    assert not plan.delete_job
    going = decide(seen(export(), job=replace(foreign, deleting=True)))
    assert going.status.phase == Phase.PENDING
    assert going.recheck_after is not None


def test_cancelling_deletes_the_job_then_waits_for_the_pod_then_ends() -> None:
    cancelled = export({"cancel": True}, jobName=JOB.name, phase="Running")
    running = replace(POD, started_at=CREATED)
    assert decide(seen(cancelled, running)).delete_job
    waiting = decide(seen(cancelled, running, job=None))
    assert waiting.status.phase == Phase.RUNNING
    ending = decide(seen(cancelled, ended(143), job=None))
    assert ending.status.phase == Phase.RUNNING
    over = decide(seen(cancelled, job=None))
    assert outcome(over) == (Phase.CANCELLED, Reason.CANCELLED)


def test_cancelling_before_the_job_exists_never_makes_one() -> None:
    plan = decide(seen(export({"cancel": True}), job=None))
    assert plan.status.phase == Phase.CANCELLED
    assert not plan.create_job


@pytest.mark.parametrize("phase", ["Succeeded", "Failed", "Cancelled"])
@pytest.mark.parametrize("pods", [(), (DONE,), (ended(ExitCode.DUMP_FAILED),)])
@pytest.mark.parametrize("job", [None, JOB, replace(JOB, failure="DeadlineExceeded")])
def test_a_finished_phase_never_changes(phase: str, pods: Any, job: Any) -> None:
    finished = export({"cancel": True}, phase=phase, jobName=JOB.name)
    assert decide(seen(finished, *pods, job=job)) == Plan(finished.status)


def test_running_never_goes_back_to_pending() -> None:
    retry = replace(POD, name="pod-b", created_at=LATER)
    plan = decide(seen(RUNNING, ended(ExitCode.CONNECTION_FAILED, "No."), retry))
    assert plan.status.phase == Phase.RUNNING


@pytest.mark.parametrize(
    ("text", "reason"), [("", Reason.INTERNAL), (json.dumps({"artifact": 1}), Reason.INTERNAL)]
)
def test_an_unreadable_report_is_said_to_be_one(text: str, reason: Reason) -> None:
    plan = decide(seen(RUNNING, replace(DONE, termination_message=text)))
    assert outcome(plan) == (Phase.FAILED, reason)
    assert "report can't be read" in (plan.status.message or "")


def test_deciding_twice_changes_nothing_more() -> None:
    observation = seen(RUNNING, ended(ExitCode.CONNECTION_FAILED, "No."))
    first = decide(observation)
    again = replace(observation, export=RUNNING.model_copy(update={"status": first.status}))
    assert decide(again) == first
