"""Kubernetes objects for tests, as the API server has them: exports, targets, Jobs and pods.

The functions named `…_manifest` give plain JSON, the others our models of it.  An export is
`nightly` of project `p`, its Job and pod are its own; what a test is about, it says.
"""

from datetime import timedelta
from typing import Any

from backupexport_contract import names, timestamps
from backupexport_contract.backup_export import BackupExport
from backupexport_contract.deliveries import SecretReference
from backupexport_contract.export_target import ExportTarget
from backupexport_contract.runner_protocol import TASK_EXPORT, Artifact, Outcome, outcome_text
from backupexport_contract.storages import S3Storage, Storage, VolumeStorage
from backupexport_operator.observed.places import Place

Manifest = dict[str, Any]

UID = "uid-1"
NAME = "nightly"
CREATED = "2026-01-29T15:30:00Z"
STORAGES = {"default": Storage(volume=VolumeStorage(claim="c"))}
BUCKET = Storage(
    s3=S3Storage(bucket="exports", prefix="team"), secret_ref=SecretReference(name="b")
)
PLACE = Place("default", "c")
BUCKET_PLACE = Place("bucket", BUCKET.root)
ARTIFACT = Artifact("p/f", 1, 2, "ab", "17.5", "17.6")
ARTIFACT_STATUS = {
    "path": "p/f", "sizeBytes": 1, "uncompressedBytes": 2, "sha256": "ab",
    "serverVersion": "17.5", "dumpVersion": "17.6", "displaySize": "1 B",
}  # fmt: skip


def ago(seconds: float) -> str:
    """That many seconds before now, as Kubernetes writes it."""
    return timestamps.to_text(timestamps.now() - timedelta(seconds=seconds))


def export_manifest(
    name: str = NAME, spec: Manifest | None = None, status: Manifest | None = None, **metadata: Any
) -> Manifest:
    """A BackupExport; `metadata` overrides, in Kubernetes' spelling."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.EXPORT_KIND,
        "metadata": {
            "name": name,
            "namespace": "ns",
            "uid": UID,
            "generation": 1,
            "creationTimestamp": CREATED,
            **metadata,
        },
        "spec": {"projectId": "p", **(spec or {})},
        "status": status or {},
    }


def export(
    name: str = NAME, spec: Manifest | None = None, status: Manifest | None = None, **metadata: Any
) -> BackupExport:
    """The same as a model."""
    return BackupExport.model_validate(export_manifest(name, spec, status, **metadata))


def plain(resource: BackupExport | ExportTarget) -> Manifest:
    """A model as the API server would have it: without a status that nobody has written."""
    kind = names.EXPORT_KIND if isinstance(resource, BackupExport) else names.TARGET_KIND
    manifest = {"apiVersion": names.API_VERSION, "kind": kind, **resource.to_manifest()}
    if not resource.status.conditions:
        del manifest["status"]
    return manifest


def target_manifest(
    project_id: str = "p", name: str = "t", created: str = "2026-01-01T00:00:00Z", **spec: Any
) -> Manifest:
    """An ExportTarget, whose uid is its name."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.TARGET_KIND,
        "metadata": {
            "name": name,
            "namespace": "ns",
            "uid": name,
            "generation": 1,
            "creationTimestamp": created,
        },
        "spec": {"projectId": project_id, "secretRef": {"name": "s"}, **spec},
    }


def target(*args: str, **spec: Any) -> ExportTarget:
    """The same as a model."""
    return ExportTarget.model_validate(target_manifest(*args, **spec))


def job_manifest(
    of: Manifest, task: str = TASK_EXPORT, status: Manifest | None = None, **metadata: Any
) -> Manifest:
    """The Job for `task` of the export `of`, which owns it."""
    name, uid = of["metadata"]["name"], of["metadata"]["uid"]
    is_own = task == TASK_EXPORT
    owner = {
        "apiVersion": names.API_VERSION,
        "kind": names.EXPORT_KIND,
        "name": name,
        "uid": uid,
        "controller": True,
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": names.job_name(name) if is_own else names.task_job_name(name, task),
            "namespace": "ns",
            "uid": f"{task}-of-{uid}",
            "creationTimestamp": ago(1),
            "labels": _labels(uid, task),
            "ownerReferences": [owner],
            **metadata,
        },
        "spec": {},
        "status": status or {},
    }


def complete() -> Manifest:
    """The status of a Job that has succeeded."""
    return {"succeeded": 1, "conditions": [{"type": "Complete", "status": "True"}]}


def failed(reason: str = "BackoffLimitExceeded", at: str = "", pods: int = 1) -> Manifest:
    """The status of a Job that has failed `at` that time."""
    condition = {"type": "Failed", "status": "True", "reason": reason, "message": ""}
    return {
        "failed": pods,
        "conditions": [condition | {"lastTransitionTime": at or ago(0)}],
    }


def pod_manifest(
    of: Manifest, name: str = "pod-a", state: Manifest | None = None, **metadata: Any
) -> Manifest:
    """A pod of the Job `of` on a node; `state` is its container's."""
    job = of["metadata"]
    owner = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "name": job["name"],
        "uid": job["uid"],
        "controller": True,
    }
    labels = job["labels"]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "ns",
            "creationTimestamp": ago(1),
            "labels": {key: value for key, value in labels.items() if key in _KEPT},
            "ownerReferences": [owner],
            **metadata,
        },
        "spec": {"nodeName": "node-1"},
        "status": pod_status(state or running()),
    }


def pod_status(state: Manifest) -> Manifest:
    """What the kubelet writes of a pod whose container has this state."""
    code = state.get("terminated", {}).get("exitCode")
    phase = "Running" if code is None else "Failed" if code else "Succeeded"
    container = {"name": names.RUNNER_CONTAINER, "state": state}
    return {"phase": phase, "containerStatuses": [container]}


def running(since: str = "") -> Manifest:
    """The state of a container that runs."""
    return {"running": {"startedAt": since or ago(6)}}


def ended(code: int, outcome: Outcome | None = None, reason: str = "") -> Manifest:
    """The state of a container that has ended; `outcome` is its termination message."""
    return {
        "terminated": {
            "exitCode": code,
            "reason": reason or ("Error" if code else "Completed"),
            "startedAt": ago(1),
            "finishedAt": ago(0),
            "message": outcome_text(outcome) if outcome else "",
        }
    }


def condition(
    condition_type: str, status: str, reason: str, message: str = "", since: str = CREATED
) -> Manifest:
    """A condition of a status."""
    return {
        "type": condition_type,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": since,
    }


# What a Job's pods have of its labels.
_KEPT = (
    names.LABEL_MANAGED_BY, names.LABEL_EXPORT_UID, names.LABEL_BATCH, names.LABEL_CHECK,
    names.LABEL_TASK,
)  # fmt: skip


def _labels(export_uid: str, task: str) -> dict[str, str]:
    return {
        names.LABEL_MANAGED_BY: names.MANAGED_BY,
        names.LABEL_EXPORT_UID: export_uid,
        names.LABEL_TASK: task,
    }
