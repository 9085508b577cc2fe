"""Whatever is observed in whatever order: what is finished stays, one Job, no reason is lost."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import builders
from backupexport_contract.backup_export import BackupExport
from backupexport_contract.names import FINALIZER, job_name
from backupexport_contract.reasons import (
    FATAL_EXIT_CODES,
    REASON_OF_EXIT_CODE,
    ExitCode,
    Phase,
    Reason,
)
from backupexport_contract.runner_protocol import Artifact, Outcome, outcome_text
from backupexport_operator.export.decision import decide
from backupexport_operator.export.plan import ExportPlan
from backupexport_operator.observed.export_files import cleanup_result
from backupexport_operator.observed.failure import end_artifact, end_failure
from backupexport_operator.observed.jobs_and_pods import ObservedJob, ObservedPod
from backupexport_operator.observed.observation import Observation, SideJob
from hypothesis import example, given
from hypothesis import strategies as st

CREATED = builders.CREATED
START = datetime(2026, 1, 29, 15, 30, tzinfo=UTC)
ARTIFACT = Artifact("p/f.sql.zst", 1024, 4096, "ab", "17.5", "17.6")
JOB = ObservedJob(name=job_name("nightly"), owner_uid="uid-1", created_at=CREATED)
TARGET = builders.target()
SUSPENDED = builders.target(suspend=True, retentionSeconds=60)


def mostly(value: Any, *others: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from([value, value, *others])


termination_messages = st.sampled_from(
    [
        "",
        "not ours",
        outcome_text(Outcome()),
        outcome_text(Outcome(message="It went wrong.")),
        outcome_text(Outcome(ARTIFACT)),
    ]
)
pods = st.builds(
    ObservedPod,
    name=st.sampled_from("abc"),
    created_at=st.sampled_from([CREATED, "2026-01-29T15:31:00Z"]),
    node=mostly("node", ""),
    deletes_at=mostly(None, CREATED, "2026-01-29T15:35:00Z"),
    phase=st.sampled_from(["", "Pending", "Running", "Succeeded", "Failed"]),
    disrupted=st.booleans(),
    unschedulable=mostly(None, "no node"),
    waiting=mostly(None, "ImagePullBackOff", "CreateContainerConfigError"),
    started_at=mostly(CREATED, None),
    finished_at=mostly(CREATED, None),
    exit_code=st.sampled_from([None, None, 1, 137, *map(int, ExitCode)]),
    ended_by=mostly("", "OOMKilled"),
    termination_message=termination_messages,
    kept_by=mostly((), ("istio-proxy",)),
)
jobs = st.builds(
    ObservedJob,
    name=st.just(JOB.name),
    owner_uid=mostly("uid-1", "uid-0"),
    created_at=st.just(CREATED),
    suspended=mostly(False, True),
    deleting=mostly(False, True),
    complete=mostly(False, True),
    failure=mostly(None, "BackoffLimitExceeded", "DeadlineExceeded", "PodFailurePolicy"),
    failed_pods=st.integers(0, 3),
    pods_made=st.integers(0, 3),
)
cleanups = st.builds(
    SideJob, job=mostly(None, JOB, replace(JOB, complete=True)), pods=st.lists(pods, max_size=1)
)
observations = st.fixed_dictionaries(
    {
        "target": mostly(TARGET, None, SUSPENDED),
        "job": st.none() | jobs,
        "pods": st.lists(pods, max_size=2, unique_by=lambda pod: pod.name),
        "lost_job": st.none() | jobs,
        "lost_pods": st.lists(pods, max_size=2, unique_by=lambda pod: pod.name),
        "tidy_job": cleanups,
        "remove_job": cleanups,
        "place_in_queue": mostly(None, "Second."),
        "now": st.integers(0, 600).map(lambda seconds: START + timedelta(seconds=seconds)),
        "retention_seconds": mostly(None, 60),
    }
)
changes = st.sampled_from(["", "", "", "cancel", "delete", "hold"])


def new_export(policy: str) -> BackupExport:
    return builders.export(spec={"artifactPolicy": policy})


def changed(export: BackupExport, change: str) -> BackupExport:
    spec, metadata = export.spec, export.metadata
    if change == "cancel":
        spec = spec.model_copy(update={"cancel": True})
    if change == "delete":
        metadata = metadata.model_copy(update={"deletion_timestamp": CREATED})
    if change == "hold":
        metadata = metadata.model_copy(update={"finalizers": [FINALIZER]})
    return export.model_copy(update={"spec": spec, "metadata": metadata})


@given(
    steps=st.lists(st.tuples(changes, observations), min_size=1, max_size=8),
    policy=st.sampled_from(["Retain", "Delete"]),
)
def test_whatever_is_seen(steps: list[tuple[str, dict[str, Any]]], policy: str) -> None:
    export = new_export(policy)
    jobs_planned = 0
    for change, facts in steps:
        export = changed(export, change)
        seen = Observation(export=export, backoff_limit=4, storages=builders.STORAGES, **facts)
        plan = decide(seen)

        if export.phase.is_finished:
            assert plan == ExportPlan(export.status)
        if plan.create_job:
            jobs_planned += 1
            assert seen.job is None
            assert not export.spec.cancel
            assert export.metadata.deletion_timestamp is None
            assert seen.place_in_queue is None
            assert (
                plan.add_finalizer
                or policy == "Retain"
                or FINALIZER in (export.metadata.finalizers)
            )
        assert jobs_planned <= 1
        if plan.delete_pod is not None:
            assert plan.delete_pod in seen.pods
            assert plan.delete_pod.exit_code is not None, "what works is left alone"
            assert end_artifact(plan.delete_pod) is None, "its Job would begin anew"
        check_progress(seen, plan.status.phase)
        if plan.status.phase in (Phase.FAILED, Phase.CANCELLED) and not export.phase.is_finished:
            check_end(seen, plan.status.reason, plan.status.message)

        again = export.model_copy(update={"status": plan.status})
        if not plan.create_job:
            repeated = decide(replace(seen, export=again))
            assert repeated.status == plan.status, "deciding twice changes nothing more"
        export = again


def check_progress(seen: Observation, phase: Phase | None) -> None:
    if seen.export.phase == Phase.RUNNING:
        assert phase != Phase.PENDING
    if phase == Phase.SUCCEEDED and seen.export.phase != Phase.SUCCEEDED:
        reported = [
            *map(end_artifact, seen.attempts),
            cleanup_result(seen.tidy_job, seen.now).artifact,
        ]
        assert any(reported), "no success without a file"


def check_end(seen: Observation, reason: Reason | None, message: str | None) -> None:
    assert reason is not None
    assert message
    assert not any(map(end_artifact, seen.attempts)), "a whole file is never called a failure"
    if reason == Reason.CANCELLED:
        assert seen.export.spec.cancel
        return
    own = seen.job is not None and seen.job.owner_uid == "uid-1"
    fatal = [
        failure.reason
        for pod in seen.attempts
        if (failure := end_failure(pod)) and failure.is_fatal
    ]
    if own and fatal:
        assert reason in fatal
    if own and not fatal and seen.job and seen.job.failure == "BackoffLimitExceeded":
        ends = [t.reason for pod in seen.attempts if (t := end_failure(pod))]
        remembered = seen.export.status.reason
        assert reason in {*ends, remembered, Reason.INTERNAL}
        if ends and all(pod in seen.pods or pod.has_ended for pod in seen.attempts):
            assert reason == ends[-1], "the last attempt's"


@given(
    code=st.sampled_from(sorted(FATAL_EXIT_CODES)),
    others=st.lists(
        pods.filter(lambda pod: not ((end := end_failure(pod)) and end.is_fatal)),
        max_size=3,
        unique_by=lambda pod: pod.name,
    ),
)
def test_what_failed_for_good_unseen_fails_for_its_reason(
    code: int, others: list[ObservedPod]
) -> None:
    """Whatever the pods say that are still there: none of them is why."""
    told = f"… for pod ns/d failed with exit code {code} matching FailJob rule"
    job = replace(JOB, failure="PodFailurePolicy", failure_message=told)
    failed = SideJob(replace(JOB, failure="DeadlineExceeded"))
    seen = Observation(
        new_export("Retain"), TARGET, job, [], START, 4, lost_pods=others, tidy_job=failed
    )
    plan = decide(seen)
    whole = any(map(end_artifact, others))
    assert plan.status.phase == (Phase.SUCCEEDED if whole else Phase.FAILED)
    assert whole or plan.status.reason == REASON_OF_EXIT_CODE[code]


@given(
    code=st.sampled_from(sorted(FATAL_EXIT_CODES)),
    others=st.lists(pods, max_size=3, unique_by=lambda pod: pod.name),
)
@example(code=ExitCode.AUTHENTICATION_FAILED, others=[])
def test_what_can_not_heal_fails_whatever_else_is_seen(
    code: int, others: list[ObservedPod]
) -> None:
    fatal = ObservedPod(
        "fatal", "2026-01-29T15:29:00Z", node="n", started_at=CREATED, exit_code=code,
        termination_message=outcome_text(Outcome(message="It can't be.")),
    )  # fmt: skip
    whole = any(map(end_artifact, others))
    export = new_export("Retain")
    failed = SideJob(replace(JOB, failure="DeadlineExceeded"))
    plan = decide(
        Observation(export, TARGET, JOB, [fatal], START, 4, lost_pods=others, tidy_job=failed)
    )
    assert plan.status.phase == (Phase.SUCCEEDED if whole else Phase.FAILED)
