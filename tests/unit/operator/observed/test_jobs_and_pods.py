"""Reading Jobs and Pods as the API server writes them."""

from typing import Any

import pytest
from backupexport_operator.observed.jobs_and_pods import (
    ObservedJob,
    ObservedPod,
    export_uid_of,
    observed_job,
    observed_pod,
)

META = {"name": "x", "creationTimestamp": "2026-01-29T15:30:00Z"}


def pod(state: Any = None, conditions: Any = (), **metadata: Any) -> ObservedPod:
    statuses = [{"name": "sidecar", "state": {"running": {"startedAt": "never"}}}]
    if state is not None:
        statuses.append({"name": "runner", "state": state})
    return observed_pod(
        {
            "metadata": META | metadata,
            "status": {"containerStatuses": statuses, "conditions": list(conditions)},
        }
    )


def test_a_pod_without_status() -> None:
    observed = observed_pod({"metadata": META})
    assert (observed.is_running, observed.exit_code, observed.waiting) == (False, None, None)


@pytest.mark.parametrize(
    ("state", "running", "exit_code", "waiting"),
    [
        ({"waiting": {"reason": "ErrImagePull"}}, False, None, "ErrImagePull"),
        ({"running": {"startedAt": "t"}}, True, None, None),
        ({"terminated": {"startedAt": "t", "finishedAt": "u", "exitCode": 0}}, False, 0, None),
        ({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}, False, 137, None),
        (None, False, None, None),
    ],
)
def test_the_runners_container_is_read_and_no_other(
    state: Any, running: bool, exit_code: int | None, waiting: str | None
) -> None:
    observed = pod(state)
    assert (observed.is_running, observed.exit_code, observed.waiting) == (
        running,
        exit_code,
        waiting,
    )


@pytest.mark.parametrize(
    ("container", "never_made"),
    [
        # As a kubelet of 1.34 writes it.
        ({}, True),
        ({"containerID": "containerd://0b7c"}, False),
        ({"state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}, False),
        ({"state": {"waiting": {"reason": "ErrImagePull"}}}, False),
    ],
)
def test_a_container_that_was_never_made(container: dict[str, Any], never_made: bool) -> None:
    lost = {"exitCode": 137, "reason": "ContainerStatusUnknown", "startedAt": None}
    status = {"name": "runner", "state": {"terminated": lost}, **container}
    observed = observed_pod(
        {"metadata": META, "status": {"phase": "Failed", "containerStatuses": [status]}}
    )
    assert observed.never_made is never_made


def test_a_pods_conditions() -> None:
    unschedulable = {
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "full",
    }  # fmt: skip
    assert pod(conditions=[unschedulable]).unschedulable == "full"
    assert pod(conditions=[unschedulable | {"status": "True"}]).unschedulable is None
    assert pod(conditions=[{"type": "DisruptionTarget", "status": "True"}]).disrupted


@pytest.mark.parametrize(
    ("conditions", "complete", "failure"),
    [
        ([], False, None),
        ([{"type": "Complete", "status": "True"}], True, None),
        ([{"type": "Complete", "status": "False"}], False, None),
        ([{"type": "FailureTarget", "status": "True", "reason": "A"}], False, "A"),
        ([{"type": "Failed", "status": "True", "reason": "B"}], False, "B"),
        ([{"type": "Failed", "status": "True"}], False, ""),
    ],
)
def test_a_jobs_conditions(conditions: Any, complete: bool, failure: str | None) -> None:
    observed = observed_job({"metadata": META, "status": {"conditions": conditions, "failed": 2}})
    assert (observed.complete, observed.failure, observed.failed_pods) == (complete, failure, 2)


@pytest.mark.parametrize(
    ("status", "since"),
    [
        ({}, "2026-01-29T15:00:00Z"),
        ({"startTime": None}, "2026-01-29T15:00:00Z"),
        ({"startTime": "2026-01-29T16:00:00Z"}, "2026-01-29T16:00:00Z"),
    ],
    ids=["not seen yet", "suspended", "resumed"],
)
def test_a_job_may_run_since_it_was_let_go(status: dict[str, Any], since: str) -> None:
    metadata = META | {"creationTimestamp": "2026-01-29T15:00:00Z"}
    assert observed_job({"metadata": metadata, "status": status}).may_run_since == since


@pytest.mark.parametrize(
    ("failed", "deleted", "failure"),
    [
        ("2026-01-29T15:30:00Z", "2026-01-29T16:30:00Z", "BackoffLimitExceeded"),
        ("2026-01-29T16:30:00Z", "2026-01-29T16:30:00Z", None),
        ("2026-01-29T16:30:02Z", "2026-01-29T16:30:00Z", None),
    ],
)
@pytest.mark.parametrize("also_failed", [True, False])
def test_what_a_deletion_does_to_a_job_is_no_failure(
    failed: str, deleted: str, failure: str | None, also_failed: bool
) -> None:
    condition = {"type": "FailureTarget", "status": "True", "reason": "BackoffLimitExceeded"}
    metadata = {"name": "bex-1", "deletionTimestamp": deleted}
    conditions = [condition | {"lastTransitionTime": failed}]
    if also_failed:
        # When its pods were gone, too.
        late = {"type": "Failed", "lastTransitionTime": "2026-01-29T16:35:00Z"}
        conditions.append(condition | late)
    status = {"conditions": conditions}
    observed = observed_job({"metadata": metadata, "status": status})
    assert (observed.deleting, observed.failure) == (True, failure)


def test_a_pods_job_is_its_controller() -> None:
    owners = [
        {"kind": "Other", "name": "a", "uid": "1", "controller": True},
        {"kind": "Job", "name": "b", "uid": "2"},
        {"kind": "Job", "name": "c", "uid": "3", "controller": True},
    ]
    observed = pod(ownerReferences=owners)
    assert (observed.job, observed.job_uid) == ("c", "3")
    assert pod().job_uid == ""


def test_a_jobs_owner_is_its_controller() -> None:
    owners = [{"uid": "other"}, {"uid": "ours", "controller": True}]
    assert observed_job({"metadata": META | {"ownerReferences": owners}}) == ObservedJob(
        "x", "ours", created_at=META["creationTimestamp"]
    )


def test_the_export_is_named_by_a_label() -> None:
    assert export_uid_of({"metadata": {"labels": {"backupexport.dev/export-uid": "u"}}}) == "u"
    assert export_uid_of({"metadata": {}}) is None


@pytest.mark.parametrize(
    ("runner", "other", "phase", "kept_by"),
    [
        ("running", "running", "Running", ()),
        ("terminated", "running", "Running", ("proxy",)),
        ("terminated", "waiting", "Running", ("proxy",)),
        ("terminated", "terminated", "Running", ()),
        # Its node is gone, and the pod's phase is what counts.
        ("terminated", "running", "Failed", ()),
    ],
)
def test_what_keeps_a_pod_whose_runner_has_ended(
    runner: str, other: str, phase: str, kept_by: tuple[str, ...]
) -> None:
    statuses = [
        {"name": "runner", "state": {runner: {"exitCode": 22}}},
        {"name": "proxy", "state": {other: {"exitCode": 0}}},
    ]
    # What Istio's native sidecars are: they end with the runner.
    native = [{"name": "istio-proxy", "state": {"running": {}}}]
    status = {"phase": phase, "containerStatuses": statuses, "initContainerStatuses": native}
    assert observed_pod({"metadata": META, "status": status}).kept_by == kept_by
