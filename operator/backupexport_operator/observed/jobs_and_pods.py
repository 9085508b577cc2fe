"""What decisions need to know of batch/v1 Jobs and v1 Pods.

https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/job-v1/ and …/pod-v1/.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from backupexport_contract.names import (
    ANNOTATION_EXPORTS,
    ANNOTATION_STORAGE,
    ANNOTATION_STORAGE_ENDPOINT,
    ANNOTATION_STORAGE_ROOT,
    EXPORTS_VOLUME,
    LABEL_BATCH,
    LABEL_CHECK,
    LABEL_EXPORT_UID,
    LABEL_TASK,
    RUNNER_CONTAINER,
)
from backupexport_contract.reasons import NOT_YET_EXIT_CODES
from backupexport_contract.runner_protocol import TASK_EXPORT, read_recipients
from backupexport_contract.storages import DEFAULT_NAME

from backupexport_operator.observed.places import Place

# https://kubernetes.io/docs/reference/labels-annotations-taints/#batch-kubernetes-io-job-name
_LABEL_JOB_NAME = "batch.kubernetes.io/job-name"

Manifest = Mapping[str, Any]
"""A batch/v1 Job or v1 Pod, as JSON."""


@dataclass(frozen=True, slots=True)
class ObservedJob:
    """A Job; `failure` is the reason of its Failed or FailureTarget condition.

    `owner_uid` is its controller's, `export_uid` that of the export it was made for, which may be
    gone; `batch` has the uids of the exports that one for several is for.  `task` is what its
    pods do (`runner_protocol.TASK_EXPORT`, …), `place` where they write, read or remove files,
    `recipients` to whom they encrypt, `pods_made` how many pods its status counts.  `started_at`
    is when its controller began, anew each time that it was resumed, and `completed_at` when it
    was complete.  Times are RFC 3339, as in a pod.
    """

    name: str
    owner_uid: str
    uid: str = ""
    export_uid: str = ""
    batch: tuple[str, ...] = ()
    task: str = TASK_EXPORT
    place: Place | None = None
    recipients: tuple[str, ...] = ()
    created_at: str = ""
    started_at: str = ""
    completed_at: str = ""
    suspended: bool = False
    deleting: bool = False
    complete: bool = False
    failure: str | None = None
    failure_message: str = ""
    failed_at: str = ""
    failed_pods: int = 0
    pods_made: int = 0

    @property
    def may_run_since(self) -> str:
        """Since when its pods may be made; a queue may have held it before."""
        return self.started_at or self.created_at


@dataclass(frozen=True, slots=True)
class ObservedPod:
    """A runner's Pod; times are RFC 3339 as the API server wrote them.

    `phase`, `reason` and `message` are the pod's own: only they tell that a node has refused or
    evicted it.  `waiting` is the reason why the container hasn't started (`ImagePullBackOff`, …),
    `unschedulable` the scheduler's message, `exit_code` is None until the container ended.  `job`
    and `job_uid` are those of the Job that made it, `orphan_of` the name of one that was deleted
    without it, as the pod's labels have it, `node` is empty until the scheduler chose one,
    `deletes_at` is when the grace period of a pod that is being deleted ends.  `never_made` says
    that the node never made the container, which has an exit code all the same.  `kept_by` names
    the containers that keep the pod from its end though the runner's has ended: injected ones.
    """

    name: str
    created_at: str
    job: str = ""
    job_uid: str = ""
    orphan_of: str = ""
    node: str = ""
    deletes_at: str | None = None
    phase: str = ""
    reason: str = ""
    message: str = ""
    disrupted: bool = False
    never_made: bool = False
    unschedulable: str | None = None
    waiting: str | None = None
    waiting_message: str = ""
    started_at: str | None = None
    finished_at: str | None = None
    exit_code: int | None = None
    ended_by: str = ""
    termination_message: str = ""
    kept_by: tuple[str, ...] = ()

    @property
    def is_running(self) -> bool:
        """Whether the runner's container runs, by what its node said last."""
        return self.started_at is not None and not self.has_ended

    @property
    def has_ended(self) -> bool:
        """Whether its node has said that nothing of it runs any more."""
        return self.exit_code is not None or self.phase in ("Failed", "Succeeded")

    @property
    def counts(self) -> bool:
        """Whether it is an attempt: a disruption is none, nor an end before the beginning."""
        return not self.disrupted and self.exit_code not in NOT_YET_EXIT_CODES


def export_uid_of(manifest: Manifest) -> str | None:
    """Returns the uid of the BackupExport that a Job or Pod of ours is for; None without one.

    For one that is for several it is the batch's name, for one that checks a storage the check's.
    """
    labels = manifest["metadata"].get("labels", {})
    found = (labels.get(label) for label in (LABEL_EXPORT_UID, LABEL_BATCH, LABEL_CHECK))
    return next((uid for uid in found if isinstance(uid, str) and uid), None)


def observed_job(manifest: Manifest) -> ObservedJob:
    """Returns what `manifest`, a batch/v1 Job, tells."""
    metadata, status = manifest["metadata"], manifest.get("status") or {}
    holding = {c["type"]: c for c in status.get("conditions") or () if c["status"] == "True"}
    # FailureTarget comes as soon as the Job has failed, Failed when its pods have ended, too.
    failure = holding.get("FailureTarget") or holding.get("Failed")
    deleted_at = metadata.get("deletionTimestamp")
    if failure and deleted_at and failure.get("lastTransitionTime", "") >= deleted_at:
        # Deleted in the foreground, a Job counts its deleted pods as failed: no failure of its own.
        failure = None
    owners = metadata.get("ownerReferences") or ()
    return ObservedJob(
        name=metadata["name"],
        owner_uid=next((owner["uid"] for owner in owners if owner.get("controller")), ""),
        uid=metadata.get("uid", ""),
        export_uid=export_uid_of(manifest) or "",
        batch=_uids(metadata),
        task=str(metadata.get("labels", {}).get(LABEL_TASK, TASK_EXPORT)),
        place=_place(manifest),
        recipients=_recipients(manifest.get("spec") or {}),
        suspended=bool((manifest.get("spec") or {}).get("suspend")),
        created_at=metadata.get("creationTimestamp", ""),
        started_at=status.get("startTime") or "",
        completed_at=status.get("completionTime") or "",
        deleting=deleted_at is not None,
        complete="Complete" in holding,
        failure=failure.get("reason", "") if failure else None,
        failure_message=failure.get("message", "") if failure else "",
        failed_at=failure.get("lastTransitionTime", "") if failure else "",
        failed_pods=status.get("failed") or 0,
        pods_made=sum(status.get(count) or 0 for count in ("active", "failed", "succeeded")),
    )


def _uids(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    text = metadata.get("annotations", {}).get(ANNOTATION_EXPORTS, "")
    return tuple(filter(None, text.split(",")))


def _place(manifest: Manifest) -> Place | None:
    annotations = manifest["metadata"].get("annotations", {})
    # What it mounts is the truth; an operator that knew claims alone noted nothing.
    root = _claim(manifest.get("spec") or {}) or annotations.get(ANNOTATION_STORAGE_ROOT)
    name = annotations.get(ANNOTATION_STORAGE, DEFAULT_NAME)
    endpoint = annotations.get(ANNOTATION_STORAGE_ENDPOINT)
    return Place(name, root, endpoint) if root else None


def _recipients(job_spec: Mapping[str, Any]) -> tuple[str, ...]:
    containers = job_spec.get("template", {}).get("spec", {}).get("containers") or ()
    runner: Mapping[str, Any] = next((c for c in containers if c["name"] == RUNNER_CONTAINER), {})
    # As `manifests.parts.literals` writes values.
    values = {it["name"]: it.get("value", "").replace("$$", "$") for it in runner.get("env") or ()}
    return read_recipients(values) or ()


def _claim(job_spec: Mapping[str, Any]) -> str | None:
    pod = job_spec.get("template", {}).get("spec", {})
    volume: Mapping[str, Any] = next(
        (v for v in pod.get("volumes") or () if v["name"] == EXPORTS_VOLUME), {}
    )
    claim = volume.get("persistentVolumeClaim", {}).get("claimName")
    return str(claim) if claim else None


def observed_pod(manifest: Manifest) -> ObservedPod:
    """Returns what `manifest`, a v1 Pod, tells."""
    metadata, status = manifest["metadata"], manifest.get("status") or {}
    conditions = {c["type"]: c for c in status.get("conditions") or ()}
    scheduled = conditions.get("PodScheduled", {})
    containers = {c["name"]: c for c in status.get("containerStatuses") or ()}
    container = containers.get(RUNNER_CONTAINER, {})
    state = container.get("state") or {}
    waiting = state.get("waiting") or {}
    ended = state.get("terminated") or {}
    running = state.get("running") or {}
    owners = metadata.get("ownerReferences") or ()
    job: Mapping[str, Any] = next(
        (o for o in owners if o.get("controller") and o["kind"] == "Job"), {}
    )
    return ObservedPod(
        name=metadata["name"],
        created_at=metadata.get("creationTimestamp", ""),
        job=job.get("name", ""),
        job_uid=job.get("uid", ""),
        orphan_of="" if job else metadata.get("labels", {}).get(_LABEL_JOB_NAME, ""),
        node=(manifest.get("spec") or {}).get("nodeName") or "",
        deletes_at=metadata.get("deletionTimestamp"),
        phase=status.get("phase", ""),
        reason=status.get("reason", ""),
        message=status.get("message", ""),
        disrupted=conditions.get("DisruptionTarget", {}).get("status") == "True",
        # The kubelet ends a deleted pod so whose image it couldn't pull; one it lost has an id.
        never_made=(
            ended.get("reason") == "ContainerStatusUnknown" and not container.get("containerID")
        ),
        unschedulable=(
            scheduled.get("message", "")
            if scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable"
            else None
        ),
        waiting=waiting.get("reason"),
        waiting_message=waiting.get("message", ""),
        started_at=_moment(running.get("startedAt") or ended.get("startedAt")),
        finished_at=ended.get("finishedAt"),
        exit_code=ended.get("exitCode"),
        ended_by=ended.get("reason", ""),
        termination_message=ended.get("message", ""),
        kept_by=_still_there(containers) if ended and status.get("phase") == "Running" else (),
    )


def _still_there(containers: Mapping[str, Any]) -> tuple[str, ...]:
    has_ended = {name for name, it in containers.items() if "terminated" in (it.get("state") or {})}
    return tuple(sorted(containers.keys() - has_ended))


def _moment(text: str | None) -> str | None:
    """Returns None for 1970, too, which a container that never started has."""
    return None if text is None or text.startswith("1970-01-01") else text
