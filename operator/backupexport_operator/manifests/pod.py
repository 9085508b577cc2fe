"""What all our Jobs have in common: labels, pod, container, environment."""

from dataclasses import dataclass, field
from typing import Any

from backupexport_contract import names, runner_protocol, timestamps
from backupexport_contract.backup_export import BackupExport

# https://kueue.sigs.k8s.io/docs/tasks/run/jobs/
_KUEUE_LABEL = "kueue.x-k8s.io/queue-name"
LABEL_INSTANCE = "app.kubernetes.io/instance"
_UID = 65532
VOLUME = "exports"
SCRATCH = "scratch"
# A pod that is evicted, or whose node goes, failed by nobody's fault.
IGNORE_DISRUPTIONS = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}
# A small Job lists a directory, or passes a file on, or a mail; `resources` are for dumps.
TASK_RESOURCES = {
    "requests": {"cpu": "10m", "memory": "48Mi"},
    "limits": {"memory": "192Mi"},
}


@dataclass(frozen=True, slots=True)
class RunnerDefaults:
    """What the chart says about every Job; what a Pod has under the same name is as there."""

    image: str
    claim_name: str
    service_account: str = "default"
    image_pull_policy: str = "IfNotPresent"
    image_pull_secrets: tuple[str, ...] = ()
    resources: dict[str, Any] = field(default_factory=dict)
    task_resources: dict[str, Any] = field(default_factory=lambda: TASK_RESOURCES)
    release: str = ""
    pod_labels: dict[str, str] = field(default_factory=dict)
    pod_annotations: dict[str, str] = field(default_factory=dict)
    node_selector: dict[str, str] = field(default_factory=dict)
    tolerations: list[dict[str, Any]] = field(default_factory=list)
    affinity: dict[str, Any] = field(default_factory=dict)
    priority_class_name: str | None = None
    backoff_limit: int = 4
    active_deadline_seconds: int = 6 * 3600
    ttl_seconds_after_finished: int = 3600
    queue_name: str | None = None


def queue_label(queue_name: str | None) -> dict[str, str]:
    """What hands a Job to Kueue's LocalQueue of this name."""
    return {_KUEUE_LABEL: queue_name} if queue_name else {}


def owner_reference(export: BackupExport) -> dict[str, Any]:
    """What makes a Job go with its export, and tells whose it is."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.EXPORT_KIND,
        "name": export.metadata.name,
        "uid": export.metadata.uid,
        "controller": True,
    }


def task_labels(export: BackupExport, task: str, defaults: RunnerDefaults) -> dict[str, str]:
    """The labels of a Job for the export, and of its pods."""
    release = {LABEL_INSTANCE: defaults.release} if defaults.release else {}
    return release | {
        "app.kubernetes.io/name": "backupexport",
        "app.kubernetes.io/component": "runner",
        "app.kubernetes.io/part-of": "backupexport",
        names.LABEL_MANAGED_BY: names.MANAGED_BY,
        names.LABEL_EXPORT_UID: export.metadata.uid,
        names.LABEL_TASK: task,
        names.LABEL_JOB_ID: export.job_id,
        names.LABEL_PROJECT_HASH: names.project_hash(export.spec.project_id),
    }


def pod_metadata(labels: dict[str, str], defaults: RunnerDefaults) -> dict[str, Any]:
    """The Job's labels and the chart's, which can't change what the operator finds pods by."""
    metadata: dict[str, Any] = {"labels": defaults.pod_labels | labels}
    if defaults.pod_annotations:
        metadata["annotations"] = defaults.pod_annotations
    return metadata


def pod_spec(
    container: dict[str, Any], defaults: RunnerDefaults, *, has_volume: bool = True
) -> dict[str, Any]:
    """A pod that the Pod Security level `restricted` admits, with the exports' volume or not."""
    exports = {"name": VOLUME, "persistentVolumeClaim": {"claimName": defaults.claim_name}}
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "serviceAccountName": defaults.service_account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 15,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _UID,
            "runAsGroup": _UID,
            "fsGroup": _UID,
            # A full volume would be walked at every start otherwise.
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [
            *([exports] if has_volume else []),
            {"name": SCRATCH, "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        ],
    }
    if defaults.image_pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in defaults.image_pull_secrets]
    if defaults.node_selector:
        spec["nodeSelector"] = defaults.node_selector
    if defaults.tolerations:
        spec["tolerations"] = defaults.tolerations
    if defaults.affinity:
        spec["affinity"] = defaults.affinity
    if defaults.priority_class_name:
        spec["priorityClassName"] = defaults.priority_class_name
    return spec


def runner_container(
    env: list[dict[str, Any]],
    project_id: str,
    resources: dict[str, Any],
    defaults: RunnerDefaults,
    *,
    secret_name: str | None = None,
    has_volume: bool = True,
) -> dict[str, Any]:
    """The runner's container, which sees nothing of the volume but the project's directory."""
    exports = {
        "name": VOLUME,
        "mountPath": runner_protocol.EXPORTS_MOUNT,
        "subPath": project_id,
    }
    secret = {
        "prefix": runner_protocol.SECRET_ENV_PREFIX,
        "secretRef": {"name": secret_name},
    }
    return {
        "name": names.RUNNER_CONTAINER,
        "image": defaults.image,
        "imagePullPolicy": defaults.image_pull_policy,
        "env": env,
        **({"envFrom": [secret]} if secret_name else {}),
        "resources": _with_text_quantities(resources or defaults.resources),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePath": runner_protocol.TERMINATION_MESSAGE_PATH,
        "terminationMessagePolicy": "File",
        "volumeMounts": [
            *([exports] if has_volume else []),
            {"name": SCRATCH, "mountPath": runner_protocol.SCRATCH_MOUNT},
        ],
    }


def _with_text_quantities(resources: dict[str, Any]) -> dict[str, Any]:
    """A quantity may be a number in YAML (`cpu: 1`); the client's models take text only."""
    return {
        kind: {name: str(quantity) for name, quantity in part.items()}
        if isinstance(part, dict)
        else part
        for kind, part in resources.items()
    }


def request_environment(export: BackupExport) -> list[dict[str, Any]]:
    """What the runner needs to know of the export itself."""
    spec = export.spec
    created = timestamps.from_text(export.metadata.creation_timestamp)
    return literals(
        {
            runner_protocol.ENV_JOB_ID: export.job_id,
            runner_protocol.ENV_PROJECT_ID: spec.project_id,
            runner_protocol.ENV_FORMAT: spec.format,
            runner_protocol.ENV_COMPRESSION: spec.effective_compression,
            runner_protocol.ENV_STORAGE_PATH: spec.storage_path,
            runner_protocol.ENV_FILE_NAME: names.artifact_file_name(
                created, export.job_id, spec.format, spec.effective_compression
            ),
            runner_protocol.ENV_CREATED_AT: timestamps.to_text(created),
        }
    )


def literals(values: dict[str, str | None]) -> list[dict[str, Any]]:
    """Environment entries; the kubelet expands $(NAME) in a value, and $$ is a dollar sign."""
    return [
        {"name": name, "value": value.replace("$", "$$")} for name, value in values.items() if value
    ]
