"""What all our Jobs have in common: labels, pod, container, environment.

A pod is made of partial core/v1 PodTemplateSpecs, of which the later wins: our defaults, the
chart's, then the ExportTarget's or the small Jobs'.  What makes a pod safe and the runner work
wins over them all.
"""

import functools
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
# A small Job lists a directory, or passes a file on, or a mail; it needs less than a dump.
TASK_RESOURCES = {
    "requests": {"cpu": "10m", "memory": "48Mi"},
    "limits": {"memory": "192Mi"},
}

PodTemplate = dict[str, Any]
"""A core/v1 PodTemplateSpec, or a part of one; of containers it has none but the runner's."""

_DEFAULT_TEMPLATE: PodTemplate = {
    "metadata": {"labels": {}, "annotations": {}},
    "spec": {
        "serviceAccountName": "default",
        "terminationGracePeriodSeconds": 15,
        # A full volume would be walked at every start otherwise.
        "securityContext": {"fsGroupChangePolicy": "OnRootMismatch"},
        "containers": [
            {"name": names.RUNNER_CONTAINER, "imagePullPolicy": "IfNotPresent", "resources": {}}
        ],
    },
}
# What no template sets, but we alone or nobody: of the pod's spec, of its container, and of the
# pod's security context all but these. The chart's schema has the same lists.
OUR_POD_FIELDS = frozenset(
    {
        "automountServiceAccountToken", "enableServiceLinks", "ephemeralContainers", "hostIPC",
        "hostNetwork", "hostPID", "initContainers", "restartPolicy", "volumes",
    }
)  # fmt: skip
OUR_CONTAINER_FIELDS = frozenset(
    {
        "args", "command", "env", "envFrom", "image", "lifecycle", "livenessProbe", "ports",
        "readinessProbe", "restartPolicy", "restartPolicyRules", "securityContext",
        "startupProbe", "terminationMessagePath", "terminationMessagePolicy", "volumeDevices",
        "volumeMounts", "workingDir",
    }
)  # fmt: skip
SECURITY_FIELDS_LEFT_OPEN = frozenset(
    {"fsGroupChangePolicy", "seLinuxOptions", "supplementalGroups"}
)


@dataclass(frozen=True, slots=True)
class RunnerDefaults:
    """What the chart says about every Job."""

    image: str
    claim_name: str
    pod_template: PodTemplate = field(default_factory=dict)
    """For the pods of all Jobs."""
    task_pod_template: PodTemplate = field(default_factory=dict)
    """For the pods of the small Jobs, which clean up and deliver; wins over `pod_template`."""
    release: str = ""
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


def pod_template(
    labels: dict[str, str],
    container: dict[str, Any],
    defaults: RunnerDefaults,
    *templates: PodTemplate,
    has_volume: bool = True,
) -> PodTemplate:
    """The core/v1 PodTemplateSpec of a Job, which the Pod Security level `restricted` admits.

    `labels` are the Job's, by which the operator finds the pods, and `container` is from
    `runner_container`; both win.  `templates` win over the chart's.
    """
    given = functools.reduce(_merged, (_DEFAULT_TEMPLATE, defaults.pod_template, *templates))
    metadata, spec = given.get("metadata", {}), given["spec"]
    (runner,) = spec["containers"]
    annotations = metadata.get("annotations")
    exports = {"name": VOLUME, "persistentVolumeClaim": {"claimName": defaults.claim_name}}
    template = {
        "metadata": {
            "labels": metadata.get("labels", {}) | labels,
            **({"annotations": annotations} if annotations else {}),
        },
        "spec": {
            **_without(OUR_POD_FIELDS, spec),
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {
                **_only(SECURITY_FIELDS_LEFT_OPEN, spec.get("securityContext", {})),
                "runAsNonRoot": True,
                "runAsUser": _UID,
                "runAsGroup": _UID,
                "fsGroup": _UID,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [_without(OUR_CONTAINER_FIELDS, runner) | container],
            "volumes": [
                *([exports] if has_volume else []),
                {"name": SCRATCH, "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
            ],
        },
    }
    with_text: PodTemplate = with_text_quantities(template)
    return with_text


def task_templates(defaults: RunnerDefaults) -> tuple[PodTemplate, ...]:
    """What the pods of small Jobs have in place of the exports' settings."""
    return (resources_template(TASK_RESOURCES), defaults.task_pod_template)


def resources_template(resources: dict[str, Any]) -> PodTemplate:
    """A template that sets the container's resources."""
    return {"spec": {"containers": [{"name": names.RUNNER_CONTAINER, "resources": resources}]}}


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """`below` with what `above` has, as a JSON merge patch (RFC 7386) but for two fields.

    The runner's container is merged, too, though it is in a list; `resources` are replaced, since
    one template's requests may be more than the other's limits.
    """
    result = dict(below)
    for key, value in above.items():
        if value is None:
            result.pop(key, None)
        elif key == "containers":
            result[key] = [functools.reduce(_merged, value, *result.get(key, [{}]))]
        elif isinstance(value, dict) and key != "resources":
            result[key] = _merged(result.get(key, {}), value)
        else:
            result[key] = value
    return result


def _only(fields: frozenset[str], part: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in part.items() if name in fields}


def _without(fields: frozenset[str], part: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in part.items() if name not in fields}


def with_text_quantities(node: Any, name: str = "") -> Any:
    """A quantity may be a number in YAML (`cpu: 1`); the client's models take text only."""
    if isinstance(node, dict):
        if name in ("limits", "requests"):
            return {resource: str(quantity) for resource, quantity in node.items()}
        return {key: with_text_quantities(value, key) for key, value in node.items()}
    if isinstance(node, list):
        return [with_text_quantities(item) for item in node]
    return node


def runner_container(
    env: list[dict[str, Any]],
    project_id: str,
    defaults: RunnerDefaults,
    *,
    secret_name: str | None = None,
    has_volume: bool = True,
) -> dict[str, Any]:
    """What we alone set of the runner's container (core/v1 Container).

    It sees nothing of the volume but the project's directory.
    """
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
        "env": env,
        **({"envFrom": [secret]} if secret_name else {}),
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
            runner_protocol.ENV_FILE_NAME: export.file_name,
            runner_protocol.ENV_CREATED_AT: timestamps.to_text(created),
        }
    )


def literals(values: dict[str, str | None]) -> list[dict[str, Any]]:
    """Environment entries; the kubelet expands $(NAME) in a value, and $$ is a dollar sign."""
    return [
        {"name": name, "value": value.replace("$", "$$")} for name, value in values.items() if value
    ]
