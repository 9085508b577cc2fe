"""What the operator does next, as tables of what it sees."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from inspect import signature
from typing import Any

import builders
import pytest
from age_keys import AGE, MISTYPED, SSH
from backupexport_contract import timestamps
from backupexport_contract.backup_export import BackupExport
from backupexport_contract.export_target import ExportTarget
from backupexport_contract.names import job_name
from backupexport_contract.reasons import ExitCode, Phase, Reason
from backupexport_contract.rules import LEAST_FILE_BYTES
from backupexport_contract.runner_protocol import Artifact, Outcome, Progress, outcome_text
from backupexport_contract.storages import S3Storage, Storage
from backupexport_operator.export import decision
from backupexport_operator.export.attempts import SIDECAR_GRACE
from backupexport_operator.export.decision import (
    FOREIGN_JOB_GRACE,
    FOREIGN_JOB_PATIENCE,
    LOOK_PATIENCE,
    START_GRACE,
    TARGET_GRACE,
    decide,
    decide_departed,
)
from backupexport_operator.export.plan import ExportPlan
from backupexport_operator.observed.export_files import CLEANUP_PAUSE, NODE_GRACE
from backupexport_operator.observed.jobs_and_pods import ObservedJob, ObservedPod
from backupexport_operator.observed.observation import TARGET_PATIENCE, Observation, SideJob
from backupexport_operator.observed.places import Place

CREATED = builders.CREATED
NOW = datetime(2026, 1, 29, 15, 31, 0, tzinfo=UTC)
LATER = "2026-01-29T15:30:30Z"
CREATED_AT = timestamps.from_text(CREATED)
JOB = ObservedJob(name=job_name("nightly"), owner_uid="uid-1", created_at=CREATED)
POD = ObservedPod(name="pod-a", created_at=CREATED, node="node-1")
ARTIFACT = Artifact("p/f.sql.zst", 1024, 4096, "ab", "17.5", "17.6")
DONE = replace(
    POD,
    started_at=CREATED,
    finished_at=LATER,
    exit_code=0,
    termination_message=outcome_text(Outcome(ARTIFACT)),
)
TARGET = builders.target()

TIDY = ObservedJob(name="tidy-bex-nightly", owner_uid="uid-1", task="tidy", created_at=CREATED)
TIDIED = SideJob(
    replace(TIDY, complete=True),
    [replace(POD, exit_code=0, termination_message=outcome_text(Outcome()))],
)


def export(spec: dict[str, Any] | None = None, **status: Any) -> BackupExport:
    return builders.export(spec=spec, status=status)


ACCEPTED = export(jobName=JOB.name, phase="Pending")
TO_AGE = export({"encryptTo": [AGE]}, jobName=JOB.name, phase="Pending")
RUNNING = export(jobName=JOB.name, phase="Running", startTime=CREATED, attempts=1)


def seen(of: BackupExport, *pods: ObservedPod, **changes: Any) -> Observation:
    facts: dict[str, Any] = {"target": TARGET, "job": JOB, "now": NOW, "backoff_limit": 4}
    facts["storages"] = builders.STORAGES
    return Observation(export=of, pods=pods, **(facts | changes))


def ended(exit_code: int, message: str | None = None, **changes: Any) -> ObservedPod:
    return replace(
        POD,
        started_at=CREATED,
        finished_at=LATER,
        exit_code=exit_code,
        termination_message=outcome_text(Outcome(message=message)) if message else "",
        **changes,
    )


def outcome(plan: ExportPlan) -> tuple[Phase | None, Reason | None]:
    return plan.status.phase, plan.status.reason


NOT_ENDED = {"Complete": "False", "Failed": "False", "Cancelled": "False"}
UNDER_WAY = {"Ready": "Unknown", "Reconciling": "True", **NOT_ENDED}
STALLED = {"Ready": "False", "Stalled": "True", **NOT_ENDED}
WHOLE = {"Ready": "True", **NOT_ENDED, "Complete": "True"}


def told(plan: ExportPlan) -> dict[str, str]:
    """The conditions that the plan writes, all of them of the same generation as the status."""
    conditions = plan.status.conditions
    assert {c.observed_generation for c in conditions} == {plan.status.observed_generation}
    return {condition.type: condition.status for condition in conditions}


def test_a_new_export_gets_its_job() -> None:
    plan = decide(seen(export(), job=None))
    assert plan.create_job
    assert outcome(plan) == (Phase.PENDING, None)
    assert plan.status.job_name == JOB.name
    assert told(plan) == UNDER_WAY | {"Accepted": "True"}


def test_a_suspended_target_holds_the_export_back_and_says_so() -> None:
    spec = TARGET.spec.model_copy(update={"suspend": True})
    plan = decide(seen(export(), job=None, target=TARGET.model_copy(update={"spec": spec})))
    assert not plan.create_job
    assert outcome(plan) == (Phase.PENDING, Reason.TARGET_SUSPENDED)


@pytest.mark.parametrize(
    "spec",
    [
        {"secretRef": {"name": "release-jwt"}},
        {"deliveries": {"telegram": {"secretRef": {"name": "release-jwt"}}}},
        {"deliveries": {"email": {"enabled": False, "secretRef": {"name": "release-jwt"}}}},
    ],
)
def test_a_target_that_names_a_secret_of_the_installations_own_fails_its_exports(
    spec: dict[str, Any],
) -> None:
    own = ("other", "release-jwt")
    plan = decide(seen(export(), job=None, target=builders.target(**spec), own_secrets=own))
    assert outcome(plan) == (Phase.FAILED, Reason.SECRET_INVALID)
    assert not plan.create_job
    assert "release-jwt" in str(plan.status.message)
    plan = decide(seen(export(), job=None, target=builders.target(**spec), own_secrets=("other",)))
    assert plan.create_job


@pytest.mark.parametrize(
    ("encrypt_to", "encryption", "reason"),
    [
        (None, {"required": True}, Reason.ENCRYPTION_REQUIRED),
        ([], {"required": True, "recipients": []}, Reason.ENCRYPTION_REQUIRED),
        ([MISTYPED], None, Reason.RECIPIENT_INVALID),
        ([AGE], {"recipients": [SSH, MISTYPED]}, Reason.RECIPIENT_INVALID),
        (None, {"required": False}, None),
        ([AGE], {"required": True}, None),
        (None, {"required": True, "recipients": [SSH]}, None),
        ([AGE], None, None),
    ],
)
def test_an_export_starts_only_with_the_recipients_that_it_needs(
    encrypt_to: list[str] | None, encryption: dict[str, Any] | None, reason: Reason | None
) -> None:
    waiting = export(spec={"encryptTo": encrypt_to} if encrypt_to is not None else {})
    plan = decide(seen(waiting, job=None, target=builders.target(encryption=encryption)))
    if reason is None:
        assert plan.create_job
    else:
        assert outcome(plan) == (Phase.FAILED, reason)
        assert not plan.create_job


def test_what_the_job_was_made_with_counts_and_not_what_the_target_says_now() -> None:
    made = replace(JOB, recipients=(AGE, SSH))
    own = export(spec={"encryptTo": [SSH]})
    for target in (builders.target(), builders.target(encryption={"recipients": [SSH]}), None):
        # The operator died before it wrote that there is a Job.
        plan = decide(seen(own, job=made, target=target))
        assert plan.status.target_recipients == [AGE]
        # The status has it, and the Job is gone.
        after = own.model_copy(update={"status": plan.status})
        assert seen(after, job=None, target=target).accepted_export.recipients == (AGE, SSH)
        lost = seen(own, job=None, lost_job=made, target=target)
        assert lost.accepted_export.file_name.endswith(".age")
    changed = builders.target(encryption={"recipients": [AGE]})
    assert decide(seen(export(), job=JOB, target=changed)).status.target_recipients == []


def test_the_place_that_an_export_was_accepted_for_stays_without_its_job() -> None:
    """Whatever has the storage's name by then."""
    bucket = Storage(s3=S3Storage(bucket="exports", endpoint="https://minio.example.com"))
    target = builders.target(storage="x")
    status = decide(seen(export(), job=None, target=target, storages={"x": bucket})).status
    assert (status.storage, status.storage_root) == ("x", "s3://exports")
    assert status.storage_endpoint == "https://minio.example.com"
    place = Place("x", "s3://exports", "https://minio.example.com")
    after = export(**status.to_manifest())
    another = Storage(s3=S3Storage(bucket="exports", endpoint="https://another.example"))
    for storages, name in (
        ({"x": another}, "x"),
        ({}, "x"),
        ({"x": another, "renamed": bucket}, "renamed"),
    ):
        found = seen(after, job=None, target=target, storages=storages).place
        assert found == replace(place, storage=name)
    # What its Job has tells more.
    there = Place("x", "claim")
    assert seen(after, job=replace(JOB, place=there), target=target).place == there


@pytest.mark.parametrize(
    ("path", "encrypted_to", "succeeds"),
    [
        (TO_AGE.path, ("SHA256:x",), True),
        (TO_AGE.path.removesuffix(".age"), (), False),
        (TO_AGE.path, (), False),
        (TO_AGE.path.removesuffix(".age"), ("SHA256:x",), False),
    ],
)
def test_what_is_not_encrypted_as_asked_is_no_success(
    path: str, encrypted_to: tuple[str, ...], succeeds: bool
) -> None:
    """A runner from before encryption ignores recipients."""
    artifact = replace(ARTIFACT, path=path, encrypted_to=encrypted_to)
    done = replace(DONE, termination_message=outcome_text(Outcome(artifact)))
    for recipients in ((), (AGE,)):
        job = replace(JOB, recipients=recipients, complete=True, pods_made=1)
        plan = decide(seen(TO_AGE, done, job=job))
        if succeeds:
            assert plan.status.phase is Phase.SUCCEEDED
            continue
        assert (plan.status.phase, plan.is_failure) == (Phase.FAILED, True)
        assert plan.status.reason == Reason.ENCRYPTION_REQUIRED
        assert plan.status.artifact is None
        assert f"The file {path} on c is not encrypted" in (plan.status.message or "")


def test_a_job_that_was_made_without_its_recipients_is_stopped() -> None:
    """An operator from before encryption makes such ones."""
    running = replace(POD, started_at=CREATED)
    plan = decide(seen(TO_AGE, running, job=JOB))
    assert (plan.delete_job, plan.is_failure, plan.status.phase) == (True, True, Phase.PENDING)
    assert plan.status.reason == Reason.ENCRYPTION_REQUIRED
    going = export({"encryptTo": [AGE]}, **plan.status.to_manifest())
    plan = decide(seen(going, running, job=replace(JOB, deleting=True)))
    assert (plan.delete_job, plan.status.phase) == (False, Phase.PENDING)
    plan = decide(seen(going, job=None, lost_job=JOB, tidy_job=TIDIED))
    assert (plan.status.phase, plan.status.reason) == (Phase.FAILED, Reason.ENCRYPTION_REQUIRED)
    # One that has them goes on.
    plan = decide(seen(TO_AGE, running, job=replace(JOB, recipients=(AGE,))))
    assert (plan.delete_job, plan.is_failure) == (False, False)


def test_a_target_does_not_get_what_helm_keeps() -> None:
    spec = {"secretRef": {"name": "sh.helm.release.v1.backupexport.v3"}}
    plan = decide(seen(export(), job=None, target=builders.target(**spec)))
    assert outcome(plan) == (Phase.FAILED, Reason.SECRET_INVALID)
    assert not plan.create_job


def test_a_missing_target_is_waited_for_a_moment_and_then_fails() -> None:
    young = decide(seen(export(), job=None, target=None, now=NOW - timedelta(seconds=58)))
    assert outcome(young) == (Phase.PENDING, None)
    assert young.recheck_after == TARGET_GRACE - timedelta(seconds=2)
    old = decide(seen(export(), job=None, target=None))
    assert outcome(old) == (Phase.FAILED, Reason.TARGET_NOT_FOUND)


def _goes_on(plan: ExportPlan, before: BackupExport) -> BackupExport:
    """The export with what the plan has written of it."""
    return before.model_copy(update={"status": plan.status})


def test_a_target_that_goes_is_waited_for_until_it_is_back() -> None:
    first = decide(seen(export(), job=None, place_in_queue="Second."))
    waiting = _goes_on(first, export())
    gone = decide(seen(waiting, job=None, target=None))
    assert outcome(gone) == (Phase.PENDING, Reason.TARGET_NOT_FOUND)
    assert gone.recheck_after == TARGET_PATIENCE
    assert TARGET.metadata.name in str(gone.status.message)
    waiting = _goes_on(gone, waiting)
    later = decide(seen(waiting, job=None, target=None, now=NOW + TARGET_PATIENCE / 2))
    assert outcome(later) == (Phase.PENDING, Reason.TARGET_NOT_FOUND)
    assert later.recheck_after == TARGET_PATIENCE / 2
    over = decide(seen(_goes_on(later, waiting), job=None, target=None, now=NOW + TARGET_PATIENCE))
    assert outcome(over) == (Phase.FAILED, Reason.TARGET_NOT_FOUND)
    again = decide(seen(_goes_on(later, waiting), job=None, now=NOW + TARGET_PATIENCE * 2))
    assert again.create_job
    back = decide(seen(_goes_on(later, waiting), job=None, place_in_queue="Second."))
    assert outcome(back) == (Phase.PENDING, None)
    assert not [each for each in back.status.conditions if each.type == "Accepted"]
    # It goes once more: the patience begins anew.
    once_more = decide(
        seen(_goes_on(back, waiting), job=None, target=None, now=NOW + TARGET_PATIENCE * 3)
    )
    assert once_more.recheck_after == TARGET_PATIENCE


def test_a_target_that_goes_or_changes_later_does_not_change_the_retention() -> None:
    chart, target = 60, builders.target(retentionSeconds=3000)
    accepted = _goes_on(decide(seen(export(), target=target, retention_seconds=chart)), export())
    assert accepted.status.job_name
    for now in (None, builders.target(retentionSeconds=1)):
        end = decide(seen(accepted, DONE, target=now, retention_seconds=chart)).status
        assert end.retention_seconds == 3000
        assert end.expiration_time == timestamps.to_text(NOW + timedelta(seconds=3000))


def test_an_export_that_an_older_operator_accepted_has_the_retention_of_today() -> None:
    target = builders.target(retentionSeconds=3000)
    running = decide(seen(RUNNING, replace(POD, started_at=CREATED), target=target))
    end = decide(seen(_goes_on(running, RUNNING), DONE, target=None))
    assert end.status.retention_seconds == 3000


def test_a_node_whose_clock_is_behind_makes_nothing_expire_early() -> None:
    behind = replace(DONE, finished_at=timestamps.to_text(NOW - timedelta(days=1)))
    ahead = replace(DONE, finished_at=timestamps.to_text(NOW + timedelta(days=1)))
    for pod, kept_from in ((behind, NOW), (ahead, NOW + timedelta(days=1))):
        end = decide(seen(RUNNING, pod, retention_seconds=60)).status
        assert end.expiration_time == timestamps.to_text(kept_from + timedelta(seconds=60))


@pytest.mark.parametrize(
    ("off", "told"),
    [
        (timedelta(days=-1), timestamps.from_text(CREATED)),
        (timedelta(days=1), NOW),
        (timedelta(), timestamps.from_text(LATER)),
    ],
)
def test_a_nodes_clock_sets_no_time_before_the_export_or_to_come(
    off: timedelta, told: datetime
) -> None:
    """Deliveries count from the end: a day behind, the first failure would be the last."""
    at = timestamps.to_text(timestamps.from_text(LATER) + off)
    end = decide(seen(ACCEPTED, replace(DONE, started_at=at, finished_at=at))).status
    assert (end.start_time, end.completion_time) == (timestamps.to_text(told),) * 2
    running = decide(seen(ACCEPTED, replace(POD, started_at=at), progress=Progress(1, 1, 9)))
    assert running.status.start_time == timestamps.to_text(told)


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
def test_what_cannot_start_says_so_while_pending(pod: ObservedPod, reason: Reason | None) -> None:
    assert outcome(decide(seen(ACCEPTED, pod))) == (Phase.PENDING, reason)


MOUNT = "FailedMount: MountVolume.SetUp failed for volume."
NO_KEY = (
    'FailedMount: MountVolume.SetUp failed for volume "secret" : '
    "references non-existent secret key: pg-password."
)
NO_SECRET = 'FailedMount: MountVolume.SetUp failed for volume "secret" : secret "db" not found.'
SECRET_DELAYED = (
    'FailedMount: MountVolume.SetUp failed for volume "secret" : '
    "failed to sync secret cache: timed out waiting for the condition."
)
SANDBOX = "FailedCreatePodSandBox: container init was OOM-killed (memory limit too low?)"
QUOTA = "FailedCreate: pods is forbidden: exceeded quota."


@pytest.mark.parametrize(
    ("pods", "warning", "reason"),
    [
        ((POD,), MOUNT, Reason.STORAGE_UNWRITABLE),
        ((POD,), NO_KEY, Reason.SECRET_INVALID),
        ((POD,), NO_SECRET, Reason.SECRET_INVALID),
        ((POD,), SECRET_DELAYED, Reason.INTERNAL),
        ((POD,), SANDBOX, Reason.OUT_OF_MEMORY),
        ((POD,), "", Reason.INTERNAL),
        ((), QUOTA, Reason.UNSCHEDULABLE),
        ((), "", Reason.UNSCHEDULABLE),
    ],
)
def test_what_tells_nothing_is_asked_for_warnings_and_at_last_said_to_be_stuck(
    pods: Any, warning: str, reason: Reason
) -> None:
    very_young = decide(seen(ACCEPTED, *pods, now=NOW - timedelta(seconds=50)))
    assert (outcome(very_young), very_young.wants_warning) == ((Phase.PENDING, None), False)
    young = decide(seen(ACCEPTED, *pods))
    assert (outcome(young), young.wants_warning) == ((Phase.PENDING, None), True)
    assert young.recheck_after is not None
    told = decide(seen(ACCEPTED, *pods, warning=warning))
    assert outcome(told) == (Phase.PENDING, reason if warning else None)
    old = decide(seen(ACCEPTED, *pods, warning=warning, now=NOW + START_GRACE))
    assert outcome(old) == (Phase.PENDING, reason)
    assert old.recheck_after is not None
    if reason is not Reason.OUT_OF_MEMORY:
        assert warning.rstrip(".") in (old.status.message or "")


def test_a_disruption_is_told_and_is_no_attempt() -> None:
    evicted = ended(143, "Stopped.", disrupted=True)
    plan = decide(seen(ACCEPTED, evicted))
    assert "doesn't count" in (plan.status.message or "")
    assert not plan.status.attempts
    again = replace(POD, name="pod-b", created_at=LATER, started_at=LATER)
    assert decide(seen(ACCEPTED, again, lost_pods=[evicted])).status.attempts == 1


@pytest.mark.parametrize(
    ("of", "words"),
    [
        (ACCEPTED, "its pod never started"),
        (RUNNING, "had dumped nothing yet"),
        (
            export(
                jobName=JOB.name, phase="Running", startTime=CREATED,
                progress={
                    "percent": 50, "dumpedBytes": 2048, "estimatedBytes": 4096, "display": "50%",
                },
            ),
            "had dumped 2.0 KiB of about 4.0 KiB",
        ),
    ],
)  # fmt: skip
def test_the_deadline_says_how_far_it_was(of: BackupExport, words: str) -> None:
    late = replace(JOB, failure="DeadlineExceeded")
    plan = decide(seen(of, job=late, tidy_job=TIDIED))
    assert outcome(plan) == (Phase.FAILED, Reason.DEADLINE_EXCEEDED)
    assert words in (plan.status.message or "")


def test_a_pod_that_its_node_ended_says_so() -> None:
    pod = replace(POD, phase="Failed", reason="OutOfcpu", message="Node has no cpu.")
    plan = decide(seen(ACCEPTED, pod, job=replace(JOB, failure="BackoffLimitExceeded")))
    assert "Node has no cpu" in (plan.status.message or "")


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
    assert told(plan) == STALLED | {"Failed": "True"}


@pytest.mark.parametrize(
    "pod",
    [
        ended(ExitCode.CONNECTION_FAILED, "The server refuses."),
        ended(ExitCode.DUMP_FAILED, "It broke."),
        ended(137, ended_by="OOMKilled"),
        ended(137),
        ended(143),
        ended(1),
    ],
)
def test_what_may_heal_is_tried_again_and_says_why(pod: ObservedPod) -> None:
    plan = decide(seen(RUNNING, pod))
    assert plan.status.phase == Phase.RUNNING
    assert plan.status.reason is not None
    assert "trying again" in (plan.status.message or "")
    failed = replace(JOB, failure="BackoffLimitExceeded")
    given_up = decide(seen(RUNNING, pod, job=failed, tidy_job=TIDIED))
    assert given_up.status.phase == Phase.FAILED
    assert given_up.status.reason == plan.status.reason


NOT_YET = {
    ExitCode.SECRET_MISSING: Reason.SECRET_INVALID,
    ExitCode.STORAGE_RESERVED: Reason.STORAGE_FULL,
    ExitCode.STORAGE_AWAY: Reason.STORAGE_UNWRITABLE,
}


@pytest.mark.parametrize(("code", "reason"), NOT_YET.items())
def test_what_cannot_begin_yet_stays_pending_and_is_no_attempt(
    code: ExitCode, reason: Reason
) -> None:
    plan = decide(seen(ACCEPTED, *[ended(code, "Create it.")] * 7))
    assert outcome(plan) == (Phase.PENDING, reason)
    assert not plan.status.attempts
    assert plan.status.message == (
        "Create it (another pod looks again, and the export starts by itself)."
    )


@pytest.mark.parametrize("code", NOT_YET)
def test_what_was_taken_for_running_and_could_not_begin_is_pending_again(code: ExitCode) -> None:
    plan = decide(seen(RUNNING, ended(code, "Create it.")))
    assert outcome(plan) == (Phase.PENDING, NOT_YET[code])
    assert (plan.status.attempts, plan.status.start_time) == (0, None)
    begun = ended(ExitCode.CONNECTION_FAILED, "No.")
    plan = decide(seen(RUNNING, begun, replace(ended(code, "Create it."), name="pod-b")))
    assert outcome(plan) == (Phase.RUNNING, NOT_YET[code])


@pytest.mark.parametrize("code", NOT_YET)
def test_a_pod_that_looks_again_is_pending_until_it_begins(code: ExitCode) -> None:
    young = replace(POD, name="pod-b", created_at=LATER, started_at="2026-01-29T15:30:59Z")
    plan = decide(seen(ACCEPTED, ended(code, "Create it."), young))
    assert outcome(plan) == (Phase.PENDING, NOT_YET[code])
    assert plan.follow_pod == "pod-b"
    assert plan.recheck_after == timedelta(seconds=4)
    begun = decide(seen(ACCEPTED, ended(code), young, progress=Progress(0, 0, 9)))
    assert outcome(begun) == (Phase.RUNNING, None)
    old = replace(young, started_at="2026-01-29T15:30:55Z")
    assert outcome(decide(seen(ACCEPTED, ended(code), old))) == (Phase.RUNNING, None)


def test_a_pod_whose_nodes_clock_is_ahead_runs() -> None:
    ahead = replace(POD, started_at="2026-01-29T16:30:00Z")
    assert outcome(decide(seen(ACCEPTED, ahead))) == (Phase.RUNNING, None)


def test_out_of_memory_names_what_to_raise() -> None:
    failed = replace(JOB, failure="BackoffLimitExceeded")
    plan = decide(seen(RUNNING, ended(137, ended_by="OOMKilled"), job=failed, tidy_job=TIDIED))
    assert outcome(plan) == (Phase.FAILED, Reason.OUT_OF_MEMORY)
    assert "resources.limits.memory" in (plan.status.message or "")


def test_the_deadline_keeps_what_was_wrong_before() -> None:
    stuck = export(
        jobName=JOB.name, phase="Pending", reason="Unschedulable", message="No node can."
    )
    plan = decide(seen(stuck, job=replace(JOB, failure="DeadlineExceeded")))
    assert outcome(plan) == (Phase.FAILED, Reason.DEADLINE_EXCEEDED)
    assert "(before that: No node can)." in (plan.status.message or "")


def test_a_job_deleted_by_hand_is_a_failure_and_not_made_again() -> None:
    lost = [ended(ExitCode.CONNECTION_FAILED, "Refused."), ended(143, "Stopped.")]
    plan = decide(seen(RUNNING, job=None, lost_job=JOB, lost_pods=lost[1:]))
    assert outcome(plan) == (Phase.FAILED, Reason.JOB_DELETED)
    assert "before that" not in (plan.status.message or "")
    newer = replace(ended(ExitCode.DUMP_FAILED, "It broke."), name="pod-b")
    newest = decide(seen(RUNNING, job=None, lost_job=JOB, lost_pods=[lost[0], newer]))
    assert "(before that: It broke)." in (newest.status.message or "")
    retried = decide(seen(RUNNING, job=None, lost_job=JOB, lost_pods=lost[:1]))
    assert "(before that: Refused)." in (retried.status.message or "")
    assert not plan.create_job


def test_a_failed_job_that_was_cleared_away_has_failed() -> None:
    """Kubernetes deletes it, in the foreground, when its time to live is over."""
    cleared = replace(JOB, deleting=True, failure="BackoffLimitExceeded")
    refused = ended(ExitCode.CONNECTION_FAILED, "Refused.")
    plan = decide(seen(RUNNING, refused, job=cleared))
    assert outcome(plan) == (Phase.FAILED, Reason.CONNECTION_FAILED)
    plan = decide(seen(RUNNING, job=None, lost_job=cleared, lost_pods=[refused]))
    assert outcome(plan) == (Phase.FAILED, Reason.CONNECTION_FAILED)


def decided_on_its_own(observation: Observation) -> ExportPlan:
    """The plan, which another look at what it has written leaves as it is."""
    plan = decide(observation)
    told = observation.export.model_copy(update={"status": plan.status})
    again = decide(replace(observation, export=told))
    assert again.status == plan.status
    return plan


def decided_to_the_end(observation: Observation) -> ExportPlan:
    """The plan after the cleanup that it asks for; each is decided on what was told before."""
    plan = decided_on_its_own(observation)
    for tidy in (SideJob(TIDY), TIDIED):
        told = observation.export.model_copy(update={"status": plan.status})
        plan = decided_on_its_own(replace(observation, export=told, tidy_job=tidy))
    return plan


# As Kubernetes 1.36 writes it.
GIVEN_UP_BY_CODE = replace(
    JOB,
    failure="PodFailurePolicy",
    failure_message=(
        "Container runner for pod ns/pod-c failed with exit code 28 matching FailJob rule at "
        "index 2"
    ),
)
UNSEEN = (
    "Pod pod-c failed for good with exit code 28, which means StorageFull: start the export "
    "again, and if that fails, too, the message says what to do"
)
REFUSED = ended(ExitCode.CONNECTION_FAILED, "Refused.")
KILLED = ended(137)


@pytest.mark.parametrize(
    "facts",
    [{"job": GIVEN_UP_BY_CODE}, {"job": None, "lost_job": GIVEN_UP_BY_CODE}],
    ids=["there", "gone"],
)
@pytest.mark.parametrize(
    ("of", "earlier", "words"),
    [
        (RUNNING, [], f"{UNSEEN}."),
        (RUNNING, [REFUSED], f"{UNSEEN} (told before: Refused)."),
        (
            RUNNING,
            [ended(ExitCode.STORAGE_RESERVED, "Below the reserve.")],
            f"{UNSEEN} (told before: Below the reserve).",
        ),
        # An operator saw the pod's end, and told of it.
        (
            export(jobName=JOB.name, phase="Running", reason="StorageFull", message="Make room."),
            [REFUSED],
            f"{UNSEEN} (told before: Make room).",
        ),
        (
            export(
                jobName=JOB.name,
                phase="Running",
                attempts=1,
                reason="StorageFull",
                message="Low (another pod looks again, and the export starts by itself).",
            ),
            [],
            f"{UNSEEN} (told before: Low).",
        ),
    ],
    ids=["no other", "another", "of the reason", "remembered", "remembered and tried again"],
)
def test_what_failed_for_good_unseen_is_told_by_the_job(
    facts: dict[str, Any], of: BackupExport, earlier: list[ObservedPod], words: str
) -> None:
    """A pod that is deleted as it ends is gone before another operator looks."""
    plan = decided_to_the_end(seen(of, *earlier, **facts))
    assert outcome(plan) == (Phase.FAILED, Reason.STORAGE_FULL)
    assert plan.status.message == words


@pytest.mark.parametrize("is_disrupted", [False, True])
def test_a_seen_failure_is_told_in_its_own_words(is_disrupted: bool) -> None:
    full = ended(ExitCode.STORAGE_FULL, "Make room.", disrupted=is_disrupted)
    full = replace(full, name="pod-c")
    plan = decide(seen(RUNNING, REFUSED, full, job=GIVEN_UP_BY_CODE, tidy_job=TIDIED))
    assert plan.status.message == "Make room."


OF_THIRD = "Out of memory (attempt 3 of 5 failed, trying again)."
AFTER_THIRD = export(
    jobName=JOB.name, phase="Running", attempts=3, reason="OutOfMemory", message=OF_THIRD
)


def test_what_only_the_status_has_of_an_attempt_ends_without_its_promises() -> None:
    given_up = replace(JOB, failure="BackoffLimitExceeded", failed_pods=5, pods_made=5)
    plan = decided_to_the_end(seen(AFTER_THIRD, job=given_up))
    assert (outcome(plan), plan.status.message) == (
        (Phase.FAILED, Reason.OUT_OF_MEMORY), "Out of memory."
    )  # fmt: skip


BROKE = replace(ended(ExitCode.DUMP_FAILED, "It broke."), name="pod-d")


@pytest.mark.parametrize(
    ("pods", "failed", "words"),
    [
        ([REFUSED, BROKE], 4, "It broke (attempt 4 of 5 failed, trying again)."),
        ([BROKE], 4, "It broke (attempt 4 of 5 failed, trying again)."),
        (
            [replace(ended(ExitCode.SECRET_MISSING, "Create it."), name="pod-d")],
            3,
            "Create it (another pod looks again, and the export starts by itself).",
        ),
        (
            [replace(ended(ExitCode.INTERRUPTED, "Moved."), name="pod-d", disrupted=True)],
            3,
            "The export's pod had to leave its node: it starts over elsewhere by itself (exit code "
            "143) (a disruption, which doesn't count: another pod takes over).",
        ),
    ],
    ids=["a fourth", "a fourth alone", "not begun", "disrupted"],
)
def test_what_came_after_the_attempts_that_are_gone_is_told(
    pods: list[ObservedPod], failed: int, words: str
) -> None:
    job = replace(JOB, failed_pods=failed, pods_made=failed)
    plan = decided_on_its_own(seen(AFTER_THIRD, *pods, job=job))
    assert plan.status.message == words


def test_a_servers_words_that_look_like_ours_are_told_and_stay_so() -> None:
    forged = "No (attempt 9 of 9 failed, trying again)."
    given_up = replace(JOB, failure="BackoffLimitExceeded", failed_pods=2, pods_made=2)
    pods = KILLED, replace(ended(ExitCode.CONNECTION_FAILED, forged), name="pod-b")
    plan = decided_to_the_end(seen(RUNNING, *pods, job=given_up))
    assert (outcome(plan), plan.status.message) == (
        (Phase.FAILED, Reason.CONNECTION_FAILED), forged
    )  # fmt: skip


def test_a_job_between_attempts_whose_pods_are_gone_is_not_called_stuck() -> None:
    """A drained node takes its failed pods with it, and an operator."""
    between = replace(JOB, failed_pods=3, pods_made=3)
    late = {"job": between, "now": NOW + START_GRACE}
    assert decide(seen(AFTER_THIRD, **late)).wants_warning
    plan = decide(seen(AFTER_THIRD, **late, warning=""))
    assert (plan.status.reason, plan.status.message) == (Reason.OUT_OF_MEMORY, OF_THIRD)
    # What Kubernetes warns of is told.
    plan = decide(seen(AFTER_THIRD, **late, warning="FailedCreate: exceeded quota"))
    assert plan.status.reason == Reason.UNSCHEDULABLE


@pytest.mark.parametrize("words", ["exit code 99", "exit code x", ""])
def test_a_job_that_tells_no_code_of_ours_is_quoted(words: str) -> None:
    told = GIVEN_UP_BY_CODE.failure_message.replace("exit code 28", words)
    job = replace(GIVEN_UP_BY_CODE, failure_message=told)
    plan = decide(seen(ACCEPTED, job=job, tidy_job=TIDIED))
    assert outcome(plan) == (Phase.FAILED, Reason.INTERNAL)
    assert told in (plan.status.message or "")


NOT_LOOKED = SideJob(replace(TIDY, failure="BackoffLimitExceeded", failure_message="Away."))
LOOKED_FOR = "The Job is complete, but its pod is gone with its report: its file is looked for"


def test_a_file_that_nobody_could_look_for_is_not_said_to_be_missing() -> None:
    complete = replace(JOB, complete=True, pods_made=1, completed_at=CREATED)
    plan = decided_on_its_own(seen(RUNNING, job=complete))
    assert (outcome(plan), plan.status.message) == (
        (Phase.RUNNING, Reason.INTERNAL), f"{LOOKED_FOR}."
    )  # fmt: skip
    assert plan.create_cleanup
    plan = decided_on_its_own(seen(RUNNING, job=complete, tidy_job=NOT_LOOKED))
    assert (outcome(plan), plan.status.message) == (
        (Phase.RUNNING, Reason.INTERNAL), f"{LOOKED_FOR} (Away)."
    )  # fmt: skip
    assert (plan.delete_cleanup, plan.recheck_after) == (None, CREATED_AT + CLEANUP_PAUSE - NOW)
    later = CREATED_AT + CLEANUP_PAUSE
    late = decide(seen(RUNNING, job=complete, tidy_job=NOT_LOOKED, now=later))
    assert late.delete_cleanup == "tidy"
    # Why nobody could stays told while it is looked for again.
    told = RUNNING.model_copy(update={"status": plan.status})
    again = decided_on_its_own(seen(told, job=complete, now=later))
    assert (again.create_cleanup, again.status.message) == ("tidy", f"{LOOKED_FOR} (Away).")
    # It was looked for, and is not there.
    assert_is_missing(decided_to_the_end(seen(told, job=complete)))


def test_a_file_is_looked_for_though_all_pods_that_are_left_were_clean() -> None:
    """The one that wrote it is gone, and those that could not begin are not counted."""
    complete = replace(JOB, complete=True, pods_made=1, completed_at=CREATED)
    plan = decided_on_its_own(
        seen(RUNNING, ended(ExitCode.SECRET_MISSING, "Create it."), job=complete)
    )
    assert (plan.status.phase, plan.create_cleanup) == (Phase.RUNNING, "tidy")


def assert_is_missing(plan: ExportPlan) -> None:
    assert outcome(plan) == (Phase.FAILED, Reason.INTERNAL)
    assert "no whole file" in (plan.status.message or "")


@pytest.mark.parametrize("is_known", [True, False])
def test_a_file_is_looked_for_without_its_job_and_not_for_ever(is_known: bool) -> None:
    complete = replace(JOB, complete=True, pods_made=1, completed_at=CREATED)
    status = decide(seen(RUNNING, job=complete)).status
    told = RUNNING.model_copy(update={"status": status})
    gone: dict[str, Any] = {"job": None, "lost_job": complete if is_known else None}
    assert_is_missing(decided_to_the_end(seen(told, **gone)))
    plan = decided_on_its_own(seen(told, **gone, tidy_job=NOT_LOOKED))
    assert outcome(plan) == (Phase.FAILED, Reason.INTERNAL)
    assert "it may be whole" in (plan.status.message or "")
    late = CREATED_AT + LOOK_PATIENCE
    plan = decided_on_its_own(seen(told, job=complete, tidy_job=NOT_LOOKED, now=late))
    assert outcome(plan) == (Phase.FAILED, Reason.INTERNAL)
    assert "it may be whole" in (plan.status.message or "")


def test_a_warning_of_before_the_pod_had_a_node_is_over() -> None:
    warning = "FailedScheduling: 0/1 nodes are available"
    late = {"now": NOW + timedelta(seconds=20), "warning": warning}
    making = replace(POD, waiting="ContainerCreating")
    assert outcome(decide(seen(ACCEPTED, making, **late))) == (Phase.PENDING, None)
    without = replace(making, node="", waiting=None)
    assert decide(seen(ACCEPTED, without, **late)).status.reason is not None


def test_attempts_whose_pods_are_gone_count() -> None:
    third = replace(POD, name="pod-c", started_at=LATER)
    twice_failed = replace(JOB, failed_pods=2, pods_made=3)
    assert decide(seen(RUNNING, third, job=twice_failed)).status.attempts == 3
    # Another export's Job of the name tells nothing of this one.
    foreign = replace(JOB, owner_uid="uid-0", failed_pods=3, pods_made=3)
    assert not decide(seen(export(), job=foreign)).status.attempts
    # It is gone, and its Job has made another.
    second = replace(JOB, failed_pods=1, pods_made=2)
    assert decide(seen(RUNNING, job=second, lost_pods=[third])).status.attempts == 1
    # It has failed, which only its Job tells so far.
    failed = replace(JOB, failed_pods=3, pods_made=3)
    assert decide(seen(RUNNING, third, job=failed)).status.attempts == 3
    found = SideJob(
        TIDIED.job,
        [replace(POD, exit_code=0, termination_message=outcome_text(Outcome(ARTIFACT)))],
    )
    plan = decide(seen(ACCEPTED, job=replace(JOB, complete=True), tidy_job=found))
    assert (plan.status.phase, plan.status.attempts) == (Phase.SUCCEEDED, 1)


def test_no_export_ends_before_it_began() -> None:
    done = replace(
        ended(0),
        started_at="2026-01-29T15:30:20Z",
        finished_at="2026-01-29T15:30:05Z",
        termination_message=outcome_text(Outcome(ARTIFACT)),
    )
    status = decide(seen(ACCEPTED, done)).status
    assert (status.start_time, status.completion_time) == ("2026-01-29T15:30:20.000Z",) * 2


def test_the_deadline_tells_nothing_of_a_pod_that_nobody_saw() -> None:
    late = replace(JOB, failure="DeadlineExceeded", pods_made=1)
    plan = decide(seen(ACCEPTED, job=late, tidy_job=TIDIED))
    assert plan.status.message == (
        "The export took longer than activeDeadlineSeconds: raise it on the BackupExport or the "
        "ExportTarget."
    )


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
    cancelled = export({"cancel": True}, jobName=JOB.name, phase="Running", attempts=1)
    running = replace(POD, started_at=CREATED)
    assert decide(seen(cancelled, running)).delete_job
    waiting = decide(seen(cancelled, running, job=None, lost_job=JOB))
    assert waiting == ExportPlan(cancelled.status, recheck_after=NODE_GRACE)
    stopped = ended(143, "Stopped.")
    going = replace(stopped, deletes_at=LATER)
    now = timestamps.from_text(LATER)
    assert decide(seen(cancelled, going, job=None, lost_job=JOB, now=now)).status.phase == "Running"
    orphan = decide(seen(cancelled, stopped, job=None, lost_job=JOB))
    assert outcome(orphan) == (Phase.CANCELLED, Reason.CANCELLED)
    over = decide(seen(cancelled, job=None, lost_job=JOB, lost_pods=[stopped]))
    assert outcome(over) == (Phase.CANCELLED, Reason.CANCELLED)


@pytest.mark.parametrize("spec", [{}, {"cancel": True}])
def test_a_pod_whose_job_was_deleted_without_it_is_stopped_before_the_end(
    spec: dict[str, Any],
) -> None:
    of = export(spec, jobName=JOB.name, phase="Running", attempts=1)
    orphan = replace(POD, started_at=CREATED, job="", orphan_of=JOB.name)
    gone: dict[str, Any] = {"job": None, "lost_job": JOB}
    plan = decide(seen(of, orphans=[orphan], **gone))
    assert (plan.status.phase, plan.delete_pod) == (Phase.RUNNING, orphan)
    going = replace(orphan, deletes_at=timestamps.to_text(NOW))
    plan = decide(seen(of, orphans=[going], **gone))
    assert (plan.status.phase, plan.delete_pod) == (Phase.RUNNING, None)
    over = replace(going, exit_code=int(ExitCode.INTERRUPTED))
    plan = decide(seen(of, orphans=[over], tidy_job=TIDIED, **gone))
    assert plan.status.phase == (Phase.CANCELLED if spec else Phase.FAILED)


def test_cancelling_what_never_got_its_container_needs_no_cleanup() -> None:
    cancelled = export({"cancel": True}, jobName=JOB.name, phase="Pending")
    never = replace(POD, phase="Failed", exit_code=137, never_made=True)
    over = decide(seen(cancelled, job=None, lost_job=JOB, lost_pods=[never]))
    assert outcome(over) == (Phase.CANCELLED, Reason.CANCELLED)
    assert over.create_cleanup is None


UNKNOWN_ENDS: dict[str, dict[str, Any]] = {
    "killed": {"pods": (KILLED,)},
    "vanished": {"lost_pods": (replace(POD, started_at=CREATED),)},
    "vanished before its start was told": {"lost_pods": (POD,)},
    "never seen": {"job": replace(JOB, failure="BackoffLimitExceeded", pods_made=1)},
    "evicted": {"pods": (replace(POD, started_at=CREATED, phase="Failed", reason="Evicted"),)},
}
GIVEN_UP = replace(JOB, failure="BackoffLimitExceeded", pods_made=1)


@pytest.mark.parametrize("facts", UNKNOWN_ENDS.values(), ids=UNKNOWN_ENDS)
def test_where_nobody_knows_what_an_attempt_left_a_cleanup_looks_before_the_end(
    facts: dict[str, Any],
) -> None:
    observation = replace(seen(RUNNING, job=GIVEN_UP), **facts)
    plan = decide(observation)
    assert plan.create_cleanup == "tidy"
    assert plan.status.phase == Phase.RUNNING
    waiting = replace(observation, tidy_job=SideJob(TIDY))
    assert decide(waiting).create_cleanup is None
    assert decide(waiting).status.phase == Phase.RUNNING
    assert decide(replace(observation, tidy_job=TIDIED)).status.phase == Phase.FAILED


def test_a_cleanup_that_fails_does_not_keep_the_failure() -> None:
    failed = SideJob(replace(TIDY, failure="DeadlineExceeded"))
    plan = decide(seen(RUNNING, KILLED, job=GIVEN_UP, tidy_job=failed))
    assert plan.status.phase == Phase.FAILED


def test_a_cleanup_has_its_time_from_when_a_queue_let_it_go() -> None:
    late = CREATED_AT + CLEANUP_PAUSE + timedelta(seconds=1)
    resumed = SideJob(replace(TIDY, started_at=timestamps.to_text(late)))
    plan = decide(seen(RUNNING, KILLED, job=GIVEN_UP, tidy_job=resumed, now=late))
    assert plan.status.phase == Phase.RUNNING
    # An end doesn't wait for what is held for long: the next export's runner cleans up, too.
    for held in (TIDY, replace(TIDY, suspended=True)):
        plan = decide(seen(RUNNING, KILLED, job=GIVEN_UP, tidy_job=SideJob(held), now=late))
        assert plan.status.phase == Phase.FAILED


def test_a_cleanup_whose_report_is_lost_is_made_anew() -> None:
    lost = SideJob(replace(TIDY, complete=True))
    plan = decide(seen(RUNNING, KILLED, job=GIVEN_UP, tidy_job=lost))
    assert (plan.delete_cleanup, plan.status.phase) == ("tidy", Phase.RUNNING)


@pytest.mark.parametrize(
    "facts",
    [
        {"job": replace(JOB, complete=True, pods_made=1)},
        {"job": None},
        {"job": GIVEN_UP},
        {"pods": (replace(DONE, termination_message=""),)},
    ],
    ids=["complete", "job is gone", "given up", "unreadable"],
)
def test_a_file_that_a_cleanup_finds_whole_is_a_success(facts: dict[str, Any]) -> None:
    observation = replace(seen(RUNNING), **facts)
    assert decide(observation).create_cleanup == "tidy"
    found = replace(TIDIED.pods[0], termination_message=outcome_text(Outcome(ARTIFACT)))
    plan = decide(replace(observation, tidy_job=SideJob(TIDIED.job, [found])))
    assert plan.status.phase == Phase.SUCCEEDED
    assert plan.status.artifact is not None
    assert plan.status.artifact.sha256 == ARTIFACT.sha256


def test_an_attempt_that_never_got_a_node_left_nothing() -> None:
    pending = replace(POD, node="")
    cancelled = export({"cancel": True}, jobName=JOB.name)
    plan = decide(seen(cancelled, job=None, lost_job=JOB, lost_pods=[pending]))
    assert plan.status.phase == Phase.CANCELLED


def test_a_job_that_never_got_a_pod_left_nothing() -> None:
    cancelled = export({"cancel": True}, jobName=JOB.name)
    assert decide(seen(cancelled, job=None, lost_job=JOB)).status.phase == Phase.CANCELLED


def test_a_pod_on_a_node_that_does_not_answer_is_not_waited_for_for_ever() -> None:
    stuck = replace(POD, started_at=CREATED, deletes_at=CREATED)
    failed = replace(JOB, failure="DeadlineExceeded", pods_made=1)
    soon = timestamps.from_text(CREATED) + NODE_GRACE - timedelta(seconds=1)
    assert decide(seen(RUNNING, stuck, job=failed, now=soon)).recheck_after is not None
    late = soon + timedelta(seconds=2)
    assert decide(seen(RUNNING, stuck, job=failed, now=late)).create_cleanup == "tidy"


def test_a_node_that_does_not_answer_is_said_and_the_export_goes_on_when_it_does() -> None:
    stuck = replace(POD, started_at=CREATED, deletes_at=CREATED, disrupted=True)
    late = timestamps.from_text(CREATED) + NODE_GRACE
    early = decide(seen(RUNNING, stuck, now=late - timedelta(seconds=20)))
    assert outcome(early) == (Phase.RUNNING, None)
    assert early.recheck_after == timedelta(seconds=20)
    for pod in (stuck, replace(stuck, started_at=None)):
        silent = decide(seen(RUNNING, pod, now=late))
        assert outcome(silent) == (Phase.RUNNING, Reason.INTERNAL)
        assert f"Node {POD.node} doesn't answer" in str(silent.status.message)
        assert "out-of-service" in str(silent.status.message)
        assert silent.follow_pod is None
    back = replace(stuck, exit_code=int(ExitCode.INTERRUPTED), phase="Failed")
    again = decide(seen(_goes_on(silent, RUNNING), back, AGAIN, now=late))
    assert outcome(again) == (Phase.RUNNING, None)
    whole = replace(stuck, exit_code=0, termination_message=DONE.termination_message)
    assert outcome(decide(seen(_goes_on(silent, RUNNING), whole)))[0] == Phase.SUCCEEDED


def test_what_kubernetes_says_at_length_is_cut() -> None:
    talking = replace(POD, waiting="ErrImagePull", waiting_message="x" * 100_000)
    plan = decide(seen(ACCEPTED, talking))
    assert plan.status.reason == Reason.IMAGE_UNAVAILABLE
    assert len(str(plan.status.message)) == 8192
    # As the API server is given it.
    BackupExport.model_validate(builders.export_manifest(status=plan.status.to_manifest()))


def test_an_attempt_that_has_only_just_begun_costs_no_write_of_its_own() -> None:
    accepted = _goes_on(decide(seen(ACCEPTED)), ACCEPTED)
    begun = replace(POD, started_at=timestamps.to_text(NOW))
    assert decide(seen(accepted, begun)).status == accepted.status
    running = decide(seen(accepted, begun, progress=Progress(1, 1, 9))).status
    assert (running.phase, running.attempts) == (Phase.RUNNING, 1)


def test_an_older_pod_on_a_silent_node_is_no_news() -> None:
    stuck = replace(POD, started_at=CREATED, deletes_at=CREATED)
    plan = decide(seen(RUNNING, stuck, AGAIN, now=timestamps.from_text(CREATED) + NODE_GRACE))
    assert outcome(plan) == (Phase.RUNNING, None)


def test_waiting_for_its_turn_it_has_no_job_and_says_its_place() -> None:
    plan = decide(seen(export(), job=None, place_in_queue="Second."))
    assert not plan.create_job
    assert (plan.status.phase, plan.status.reason) == (Phase.PENDING, None)
    assert plan.status.message == "Second."


def test_the_place_goes_when_the_job_comes() -> None:
    waited = export(phase="Pending", message="Second.")
    plan = decide(seen(waited, job=None))
    assert plan.create_job
    assert plan.status.message is None


HELD = {"finalizers": ["other.io/x", "backupexport.dev/artifact"]}


def held(of: BackupExport, **metadata: Any) -> BackupExport:
    return of.model_copy(update={"metadata": of.metadata.model_copy(update=HELD | metadata)})


def test_a_file_that_is_to_go_with_its_export_holds_it_from_before_its_job() -> None:
    plan = decide(seen(export({"artifactPolicy": "Delete"}), job=None))
    assert (plan.create_job, plan.add_finalizer) == (True, True)
    again = decide(seen(held(export({"artifactPolicy": "Delete"})), job=None))
    assert (again.create_job, again.add_finalizer) == (True, False)
    assert not decide(seen(export(), job=None)).add_finalizer


def test_without_a_file_nothing_is_held() -> None:
    of = held(export({"artifactPolicy": "Delete"}, jobName=JOB.name, phase="Running"))
    plan = decide(seen(of, ended(ExitCode.PERMISSION_DENIED, "No."), job=JOB))
    assert plan.status.phase == Phase.FAILED
    assert plan.remove_finalizer
    assert plan.status.disposal_pending is None


def test_deleted_while_it_runs_stops_the_job_removes_the_file_and_lets_go() -> None:
    of = held(
        export({"artifactPolicy": "Delete"}, jobName=JOB.name, phase="Running"),
        deletion_timestamp=LATER,
    )
    running = replace(POD, started_at=CREATED)
    assert decide(seen(of, running)).delete_job
    assert not decide(seen(of, running, job=replace(JOB, deleting=True))).delete_job
    assert decide(seen(of, running, job=None)).create_cleanup is None
    gone = seen(of, job=None, lost_pods=[replace(DONE)])
    assert decide(gone).create_cleanup == "remove"
    going = SideJob(replace(TIDY, task="remove"))
    assert decide(replace(gone, remove_job=going)) == ExportPlan(
        of.status, recheck_after=CLEANUP_PAUSE
    )
    assert decide(replace(gone, remove_job=TIDIED)) == ExportPlan(of.status, remove_finalizer=True)


def test_deleted_before_it_began_it_is_let_go() -> None:
    of = held(export({"artifactPolicy": "Delete"}), deletion_timestamp=LATER)
    assert decide(seen(of, job=None)) == ExportPlan(of.status, remove_finalizer=True)


def test_deleted_and_held_by_another_only_stops_the_job() -> None:
    of = held(RUNNING, deletion_timestamp=LATER, finalizers=["other.io/x"])
    assert decide(seen(of)).delete_job
    assert decide(seen(of, job=None)) == ExportPlan(of.status)


@pytest.mark.parametrize(
    ("facts", "cleanup"),
    [
        ({"lost_pods": [ended(143, "Stopped.")]}, None),
        ({"of": ACCEPTED, "lost_pods": [replace(POD, node="")]}, None),
        ({"lost_pods": [KILLED]}, "tidy"),
        ({}, "tidy"),
    ],
)
def test_what_left_before_its_end_leaves_no_partial_file(
    facts: dict[str, Any], cleanup: str | None
) -> None:
    lost = JOB if facts else None
    plan = decide_departed(seen(**{"of": RUNNING, "job": None, "lost_job": lost, **facts}))
    assert (plan.create_cleanup, plan.recheck_after) == (cleanup, None)


def test_what_left_before_its_end_is_waited_for_while_it_still_writes() -> None:
    assert decide_departed(seen(RUNNING)).recheck_after is not None
    running = replace(POD, started_at=CREATED)
    assert decide_departed(seen(RUNNING, running, job=None)).recheck_after is not None


@pytest.mark.parametrize(
    ("spec", "target", "chart", "seconds"),
    [
        ({}, None, None, None),
        ({}, None, 30, 30),
        ({}, 20, 30, 20),
        ({"retentionSeconds": 10}, 20, 30, 10),
    ],
)
def test_an_end_notes_when_it_expires(
    spec: dict[str, Any], target: int | None, chart: int | None, seconds: int | None
) -> None:
    of = TARGET.model_copy(
        update={"spec": TARGET.spec.model_copy(update={"retention_seconds": target})}
    )
    running = export(spec, jobName=JOB.name)
    status = decide(seen(running, DONE, target=of, retention_seconds=chart)).status
    if seconds is None:
        assert (status.expiration_time, status.disposal_pending) == (None, None)
        return
    assert status.expiration_time == timestamps.to_text(NOW + timedelta(seconds=seconds))
    assert status.disposal_pending


def test_cancelling_before_the_job_exists_never_makes_one() -> None:
    plan = decide(seen(export({"cancel": True}), job=None))
    assert plan.status.phase == Phase.CANCELLED
    assert not plan.create_job


@pytest.mark.parametrize("phase", ["Succeeded", "Failed", "Cancelled"])
@pytest.mark.parametrize("pods", [(), (DONE,), (ended(ExitCode.DUMP_FAILED),)])
@pytest.mark.parametrize("job", [None, JOB, replace(JOB, failure="DeadlineExceeded")])
def test_a_finished_phase_never_changes(phase: str, pods: Any, job: Any) -> None:
    finished = export({"cancel": True}, phase=phase, jobName=JOB.name)
    assert decide(seen(finished, *pods, job=job)) == ExportPlan(finished.status)


def test_an_end_keeps_the_start_of_the_first_attempt() -> None:
    done = replace(DONE, started_at=LATER)
    assert decide(seen(RUNNING, done)).status.start_time == CREATED
    assert decide(seen(RUNNING, replace(FATAL, started_at=LATER))).status.start_time == CREATED


def test_running_never_goes_back_to_pending() -> None:
    retry = replace(POD, name="pod-b", created_at=LATER)
    plan = decide(seen(RUNNING, ended(ExitCode.CONNECTION_FAILED, "No."), retry))
    assert plan.status.phase == Phase.RUNNING


@pytest.mark.parametrize(
    ("text", "reason"), [("", Reason.INTERNAL), (json.dumps({"artifact": 1}), Reason.INTERNAL)]
)
def test_an_unreadable_report_is_said_to_be_one(text: str, reason: Reason) -> None:
    plan = decide(seen(RUNNING, replace(DONE, termination_message=text), tidy_job=TIDIED))
    assert outcome(plan) == (Phase.FAILED, reason)
    assert "report can't be read" in (plan.status.message or "")


def test_deciding_twice_changes_nothing_more() -> None:
    observation = seen(RUNNING, ended(ExitCode.CONNECTION_FAILED, "No."))
    first = decide(observation)
    again = replace(observation, export=RUNNING.model_copy(update={"status": first.status}))
    assert decide(again) == first


def test_a_job_that_a_crash_kept_out_of_the_status_is_noted() -> None:
    plan = decide(seen(export()))
    assert plan.status.job_name == JOB.name
    assert told(plan) == UNDER_WAY | {"Accepted": "True"}


@pytest.mark.parametrize("of", [ACCEPTED, RUNNING])
def test_a_suspended_job_waits_for_whoever_suspended_it(of: BackupExport) -> None:
    plan = decide(seen(of, job=replace(JOB, suspended=True), now=NOW + START_GRACE))
    assert outcome(plan) == (of.phase, None)
    assert "suspended" in (plan.status.message or "")


def test_a_pod_more_than_was_seen_may_have_left_something() -> None:
    failed = replace(JOB, failure="BackoffLimitExceeded", pods_made=2)
    plan = decide(seen(RUNNING, ended(ExitCode.DUMP_FAILED, "It broke."), job=failed))
    assert plan.create_cleanup == "tidy"


def test_a_pod_that_vanished_on_its_node_may_have_begun() -> None:
    """Deleted by force: the node had not told that it had started."""
    lost = replace(POD, waiting="ContainerCreating")
    cancelled = export({"cancel": True}, jobName=JOB.name)
    plan = decide(seen(cancelled, job=None, lost_job=JOB, lost_pods=[lost]))
    assert plan.create_cleanup == "tidy"


def test_a_cleanup_that_does_not_end_does_not_keep_the_failure() -> None:
    """Suspended by Kueue, say: its deadline doesn't run then."""
    observation = seen(RUNNING, KILLED, job=GIVEN_UP, tidy_job=SideJob(TIDY))
    assert decide(observation).status.phase == Phase.RUNNING
    late = replace(observation, now=NOW + CLEANUP_PAUSE)
    assert decide(late).status.phase == Phase.FAILED


def test_deleted_right_after_its_job_was_made_it_is_still_cleaned_up_after() -> None:
    """The status had not told of the Job yet."""
    of = held(export({"artifactPolicy": "Delete"}), deletion_timestamp=LATER)
    stopping = decide(seen(of))
    assert stopping.delete_job
    assert stopping.status.job_name == JOB.name
    lost = seen(of, job=None, lost_job=JOB, lost_pods=[KILLED])
    assert decide(lost).create_cleanup == "remove"


def test_a_foreign_job_that_never_goes_is_not_waited_for_for_ever() -> None:
    foreign = replace(JOB, owner_uid="uid-0", deleting=True)
    plan = decide(seen(export(), job=foreign, now=NOW + FOREIGN_JOB_PATIENCE))
    assert plan.status.phase == Phase.FAILED


def test_a_suspended_jobs_lost_pod_is_no_failed_attempt() -> None:
    stopped = replace(JOB, suspended=True)
    plan = decide(seen(RUNNING, job=stopped, lost_pods=[replace(POD, started_at=CREATED)]))
    assert "suspended" in (plan.status.message or "")
    assert plan.status.phase == Phase.RUNNING


def test_a_finalizer_that_somebody_put_on_a_retained_export_does_not_stay() -> None:
    plan = decide(seen(held(RUNNING), DONE))
    assert (plan.status.phase, plan.remove_finalizer) == (Phase.SUCCEEDED, True)
    kept = held(export({"artifactPolicy": "Delete"}, jobName=JOB.name, phase="Running"))
    assert not decide(seen(kept, DONE)).remove_finalizer


def test_the_file_of_a_retained_export_is_not_removed_whatever_holds_it() -> None:
    deleted = held(RUNNING, deletion_timestamp=LATER)
    assert decide(seen(deleted, job=None, lost_job=JOB, lost_pods=[DONE])).create_cleanup == "tidy"


def test_a_job_in_foreground_deletion_whose_pod_does_not_go_is_gone() -> None:
    deleting = replace(JOB, deleting=True)
    stuck = replace(POD, started_at=CREATED, deletes_at=CREATED)
    at = timestamps.from_text(CREATED) + NODE_GRACE
    plan = decide(seen(RUNNING, stuck, job=deleting, now=at))
    assert plan.status.reason == Reason.JOB_DELETED
    assert plan.create_cleanup == "tidy"


def test_what_could_not_heal_stays_the_reason_though_the_job_is_gone() -> None:
    wrong = ended(ExitCode.AUTHENTICATION_FAILED, "Correct the password.")
    plan = decide(seen(RUNNING, job=None, lost_job=JOB, lost_pods=[wrong]))
    assert outcome(plan) == (Phase.FAILED, Reason.AUTHENTICATION_FAILED)


def _suspended(target: ExportTarget) -> ExportTarget:
    return target.model_copy(update={"spec": target.spec.model_copy(update={"suspend": True})})


GOING = RUNNING.model_copy(
    update={"metadata": RUNNING.metadata.model_copy(update={"deletion_timestamp": LATER})}
)
FATAL = ended(ExitCode.AUTHENTICATION_FAILED, "No.")
AGAIN = replace(POD, name="pod-b", created_at=LATER, started_at=LATER)


@pytest.mark.parametrize(
    ("stored", "room"),
    [
        (0, 10_000),
        (10_000 - LEAST_FILE_BYTES, LEAST_FILE_BYTES),
        (10_000 - LEAST_FILE_BYTES + 1, 0),
        (9_999, 0),
        (20_000, 0),
    ],
)
def test_an_export_waits_where_no_file_can_fit(stored: int, room: int) -> None:
    now = seen(export(), job=None, stored_bytes=stored, max_stored_bytes=10_000)
    assert now.room_bytes == room
    plan = decide(now)
    assert plan.create_job is (room > 0)
    assert (plan.status.reason is Reason.STORAGE_FULL) is (room == 0)


# Of what is seen here, two steps would make a plan; the first one must win.
@pytest.mark.parametrize(
    ("observation", "first", "second"),
    [
        (seen(GOING, DONE), "_deleted", "_succeeded"),
        (seen(export({"cancel": True}, jobName=JOB.name), DONE), "_succeeded", "_cancelled"),
        (seen(ACCEPTED, job=None, target=None), "_job_gone", "_without_target"),
        (seen(export(), job=None, target=_suspended(TARGET), place_in_queue="Second."),
         "_target_suspended", "_in_queue"),
        (seen(export(), job=None, place_in_queue="Second."), "_in_queue", "_startable"),
        (seen(RUNNING, FATAL, job=replace(JOB, owner_uid="another")),
         "_behind_another", "_failed_for_good"),
        (seen(RUNNING, FATAL, job=replace(JOB, failure="DeadlineExceeded")),
         "_failed_for_good", "_job_failed"),
        (seen(RUNNING, ended(1), AGAIN), "_running", "_tried_again"),
        (seen(RUNNING, job=replace(JOB, suspended=True)), "_job_suspended", "_not_started"),
    ],
)  # fmt: skip
def test_the_first_step_that_has_a_plan_decides(
    observation: Observation, first: str, second: str
) -> None:
    def plan(step: str) -> ExportPlan | None:
        decides = getattr(decision, step)
        needs_job = "job" in signature(decides).parameters
        found: ExportPlan | None = decides(observation, *[observation.job] * needs_job)
        return found

    assert plan(second) is not None
    assert decide(observation) == plan(first) != plan(second)


@pytest.mark.parametrize(
    "job", [JOB, replace(JOB, suspended=True), replace(JOB, deleting=True), GIVEN_UP]
)
def test_the_last_step_always_has_a_plan(job: ObservedJob) -> None:
    assert decision._startable(seen(export(), job=None)) is not None
    assert decision._not_started(seen(RUNNING, job=job), job) is not None


def beside_a_sidecar(pod: ObservedPod, **changes: Any) -> ObservedPod:
    return replace(pod, phase="Running", kept_by=("istio-proxy",), **changes)


AWAY = beside_a_sidecar(ended(ExitCode.CONNECTION_FAILED, "Start the server."))
ENDED_AT = timestamps.from_text(LATER)


def test_a_sidecar_may_end_soon_after_the_runner() -> None:
    young = decide(seen(RUNNING, AWAY, now=ENDED_AT + SIDECAR_GRACE / 3))
    assert young.delete_pod is None
    assert young.recheck_after == SIDECAR_GRACE * 2 / 3
    assert young.status.message == "Start the server (attempt 1 of 5 failed, trying again)."


@pytest.mark.parametrize("code", [ExitCode.CONNECTION_FAILED, ExitCode.SECRET_MISSING, 137])
def test_a_failed_attempt_that_a_sidecar_keeps_makes_room_for_the_next(code: int) -> None:
    pod = replace(AWAY, exit_code=code)
    plan = decide(seen(RUNNING, pod, now=ENDED_AT + SIDECAR_GRACE))
    assert plan.delete_pod == pod
    assert not plan.delete_job
    is_begun = code != ExitCode.SECRET_MISSING
    assert plan.status.phase == (Phase.RUNNING if is_begun else Phase.PENDING)
    assert "pod pod-a is deleted, as container istio-proxy doesn't end" in str(plan.status.message)
    # It takes its grace period, and the status says the same.
    going = replace(pod, deletes_at="2026-01-29T15:31:15Z")
    of = RUNNING.model_copy(update={"status": plan.status})
    again = decide(seen(of, going, now=ENDED_AT + SIDECAR_GRACE * 2))
    assert again.delete_pod is None
    assert again.status == plan.status
    # The next attempt's pod tells more.
    gone = replace(going, phase="Failed", kept_by=())
    after = decide(seen(of, gone, replace(POD, name="pod-b", started_at=CREATED)))
    assert outcome(after) == (Phase.RUNNING, None)


@pytest.mark.parametrize(
    ("pod", "phase"),
    [
        (DONE, Phase.SUCCEEDED),
        (ended(ExitCode.AUTHENTICATION_FAILED, "Correct the password."), Phase.FAILED),
    ],
)
def test_an_end_takes_the_job_away_that_a_sidecar_keeps(pod: ObservedPod, phase: Phase) -> None:
    job = replace(JOB, pods_made=1)
    plan = decide(seen(RUNNING, beside_a_sidecar(pod), job=job))
    assert plan.status.phase == phase
    assert plan.delete_job
    assert plan.delete_pod is None
    assert not decide(seen(RUNNING, pod, job=job)).delete_job
    foreign = replace(job, owner_uid="another")
    assert not decide(seen(RUNNING, beside_a_sidecar(pod), job=foreign)).delete_job
