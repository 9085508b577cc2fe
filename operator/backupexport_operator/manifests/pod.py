"""What all our Jobs have in common: labels, pod, container, environment.

A pod is made of partial core/v1 PodTemplateSpecs, of which the later wins: our defaults, the
chart's, the ExportTarget's or the small Jobs', then what makes a pod safe and the runner work.
"""

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from backupexport_contract import names, rules, runner_protocol, timestamps
from backupexport_contract.backup_export import BackupExport
from backupexport_contract.deliveries import Deliveries
from backupexport_contract.export_target import ExportTarget
from backupexport_contract.fields import Bytes, Seconds
from backupexport_contract.kubernetes_model import FrozenModel
from backupexport_contract.runner_protocol import TASK_EXPORT, TASK_REMOVE, TASK_TIDY
from backupexport_contract.storages import Storages
from pydantic import ConfigDict, Field

from backupexport_operator.manifests.parts import literals
from backupexport_operator.manifests.storage_access import Spool, StorageAccess

# https://kueue.sigs.k8s.io/docs/tasks/run/jobs/
_KUEUE_LABEL = "kueue.x-k8s.io/queue-name"
_OUR_LABELS = {
    "app.kubernetes.io/name": "backupexport",
    "app.kubernetes.io/component": "runner",
    "app.kubernetes.io/part-of": "backupexport",
    names.LABEL_MANAGED_BY: names.MANAGED_BY,
}
LABEL_INSTANCE = "app.kubernetes.io/instance"
_UID = 65532
# Room for what a Secret holds at most, 1 MiB, a second time.
_SCRATCH_VOLUME = {"name": "scratch", "emptyDir": {"medium": "Memory", "sizeLimit": "3Mi"}}
_SCRATCH_MOUNT = {"name": "scratch", "mountPath": runner_protocol.SCRATCH_MOUNT}
_SECRET_MOUNT = {
    "name": names.SECRET_VOLUME,
    "mountPath": runner_protocol.SECRET_MOUNT,
    "readOnly": True,
}
# A pod that is evicted, or whose node goes, failed by nobody's fault.
IGNORE_DISRUPTIONS = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}
# A small Job lists a directory, or passes a file on, or a mail; it needs less than a dump.
TASK_RESOURCES = {"requests": {"cpu": "10m", "memory": "48Mi"}, "limits": {"memory": "192Mi"}}

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
# An eviction throws away what an attempt has dumped, so what makes room by evictions is asked to
# leave an export's pod alone; the small Jobs' pods lose nothing by one.
# https://karpenter.sh/docs/concepts/disruption/#pod-level-controls and
# https://github.com/kubernetes/autoscaler/blob/master/cluster-autoscaler/FAQ.md
_SPARED_TEMPLATE: PodTemplate = {
    "metadata": {
        "annotations": {
            "karpenter.sh/do-not-disrupt": "true",
            "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
        }
    }
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


class RunnerPods(FrozenModel):
    """Settings of the Jobs' pods, which this module merges."""

    model_config = ConfigDict(extra="forbid")

    all: PodTemplate = Field(default_factory=dict)
    """Of all Jobs."""
    tasks: PodTemplate = Field(default_factory=dict)
    """Of the small Jobs alone, which clean up and deliver; wins over `all`."""


class JobSettings(FrozenModel):
    """What the chart says about all exports and their Jobs."""

    namespace: str
    """The namespace whose BackupExports are served."""
    runner_image: str
    """The image of the Jobs' container."""
    storages: Storages
    """Where files are kept, by name: that called default for ExportTargets that name none."""
    chart_claim: str = ""
    """The claim of the chart's own volume, which has the files of which no claim is recorded."""
    spool: Spool = Spool()
    """Where a tar export keeps each table for a while, if its file is in a bucket."""
    runner_pods: RunnerPods = RunnerPods()
    """The Jobs' pods: partial PodTemplateSpecs, `all`, and `tasks` for the small Jobs alone."""
    spare_from_eviction: bool = True
    """Whether exports' pods ask Karpenter and the cluster autoscaler not to evict them."""
    release: str = ""
    """The label app.kubernetes.io/instance of Jobs and their pods; they have none unless given."""
    backoff_limit: int = Field(default=4, ge=0, le=20)
    """How often a failure that may heal is tried again."""
    active_deadline_seconds: Seconds = 6 * 3600
    """How long an export may take in all, in seconds."""
    ttl_seconds_after_finished: Seconds = 3600
    """How long a finished Job (not its file) stays, in seconds."""
    max_concurrent: int = Field(default=20, ge=0)
    """How many exports may run at once, of all projects together; 0 for no limit."""
    retention_seconds: Seconds | None = None
    """How long finished exports are kept, in seconds, unless they or their target say."""
    max_bytes: Bytes | None = None
    """The largest file that an export may make, in bytes, unless its target says."""
    max_stored_bytes: Bytes | None = None
    """How much the files of a project may take, in bytes, unless its target says."""
    max_spool_bytes: Bytes | None = None
    """The largest table of a tar export, in bytes; as large as its file may be unless given."""
    storage_reserve: str = Field(default="", pattern=f"^(?:{rules.RESERVE})?$")
    """What has to be free on the volume for an export to begin: bytes, or a percentage of it."""
    kueue_queue_name: str | None = None
    """Kueue's LocalQueue for the Jobs, unless the ExportTarget names one."""
    deliveries: Deliveries = Deliveries()
    """How exports reach their owners, as in an ExportTarget's spec.deliveries, which wins."""
    require_verified_tls: bool = False
    """Whether exports from servers are refused whose certificate is not verified."""
    own_secrets: frozenset[str] = frozenset()
    """The installation's own Secrets, which no ExportTarget may name."""
    public_url: str | None = None
    """Where people reach the api, for the mails; they say it in words unless given."""
    downloads: frozenset[str] = frozenset()
    """The storages whose files people get from the api, for the mails."""


def runner_job(
    export: BackupExport,
    task: str,
    defaults: JobSettings,
    spec: dict[str, Any],
    *,
    target: ExportTarget | None = None,
    env: Iterable[dict[str, Any]] = (),
    secret: dict[str, Any] | None = None,
    accesses: Sequence[StorageAccess] = (),
) -> dict[str, Any]:
    """Returns the batch/v1 Job that does `task` for the export; `spec` is its own part of JobSpec.

    `env` are core/v1 EnvVars beside those that every runner gets, `secret` is a `secret_volume`,
    `accesses` are to where its files are.
    """
    name, labels = export.metadata.name, _labels(export, task, defaults)
    queue_name = (target and target.spec.queue_name) or defaults.kueue_queue_name
    container, volumes = _runner(
        [*_request_environment(export, task), *env], accesses, defaults, secret
    )
    template = _given_template(task, target, defaults)
    metadata = {
        "name": names.job_name(name) if task == TASK_EXPORT else names.task_job_name(name, task),
        "namespace": export.metadata.namespace,
        "labels": labels | _queue_label(queue_name),
        **_annotations(accesses),
        # The Job goes with its export, and tells whose it is.
        "ownerReferences": [
            {
                "apiVersion": names.API_VERSION,
                "kind": names.EXPORT_KIND,
                "name": name,
                "uid": export.metadata.uid,
                "controller": True,
                # Who deletes the export in the foreground waits for its Jobs, too, but for those
                # that clean up then: they would be deleted before they have.
                "blockOwnerDeletion": task not in (TASK_REMOVE, TASK_TIDY),
            }
        ],
    }
    return _job(metadata, spec, _pod_template(template, labels, container, volumes))


def job_without_export(
    name: str,
    task: str,
    defaults: JobSettings,
    spec: dict[str, Any],
    *,
    env: Iterable[dict[str, Any]] = (),
    access: StorageAccess,
    label: str,
    annotations: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Returns a batch/v1 Job that does `task` in a storage, for several exports or for none.

    `label` has its name, on its pods too; `annotations` are its own, besides those of `access`.
    """
    # No export owns it, and Argo CD may delete what has LABEL_INSTANCE and no owner.
    labels = _OUR_LABELS | {names.LABEL_TASK: task, label: name}
    container, volumes = _runner(
        [*literals({runner_protocol.ENV_TASK: task}), *env], [access], defaults
    )
    template = _given_template(task, None, defaults)
    metadata = {
        "name": name,
        "namespace": defaults.namespace,
        "labels": labels | _queue_label(defaults.kueue_queue_name),
        "annotations": {**access.annotations, **(annotations or {})},
    }
    return _job(metadata, spec, _pod_template(template, labels, container, volumes))


def _job(metadata: dict[str, Any], spec: dict[str, Any], template: Any) -> dict[str, Any]:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": spec | {"template": template},
    }


def _annotations(accesses: Iterable[StorageAccess]) -> dict[str, Any]:
    annotations = {key: text for each in accesses for key, text in each.annotations.items()}
    return {"annotations": annotations} if annotations else {}


def _queue_label(queue_name: str | None) -> dict[str, str]:
    return {_KUEUE_LABEL: queue_name} if queue_name else {}


def _given_template(task: str, target: ExportTarget | None, defaults: JobSettings) -> PodTemplate:
    is_spared = task == TASK_EXPORT and defaults.spare_from_eviction
    spared = [_SPARED_TEMPLATE] if is_spared else []
    templates = [_DEFAULT_TEMPLATE, *spared, defaults.runner_pods.all]
    if task != TASK_EXPORT:
        templates += [_resources_template(TASK_RESOURCES), defaults.runner_pods.tasks]
    elif target is not None and target.spec.resources:
        # An object without fields is none: an ExportTarget may have an empty one.
        own = target.spec.resources.to_manifest()
        templates += [_resources_template(own)] if own else []
    return functools.reduce(_merged, templates)


def _resources_template(resources: dict[str, Any]) -> PodTemplate:
    return {"spec": {"containers": [{"name": names.RUNNER_CONTAINER, "resources": resources}]}}


def _labels(export: BackupExport, task: str, defaults: JobSettings) -> dict[str, str]:
    release = {LABEL_INSTANCE: defaults.release} if defaults.release else {}
    return (
        release
        | _OUR_LABELS
        | {
            names.LABEL_EXPORT_UID: export.metadata.uid,
            names.LABEL_TASK: task,
            names.LABEL_JOB_ID: export.job_id,
            names.LABEL_PROJECT_HASH: names.project_hash(export.spec.project_id),
        }
    )


def _pod_template(
    given: PodTemplate,
    labels: dict[str, str],
    container: dict[str, Any],
    volumes: list[dict[str, Any]],
) -> Any:
    """Returns `given` with what we alone set; the Pod Security level `restricted` admits it."""
    metadata, spec = given.get("metadata", {}), given["spec"]
    (runner,) = spec["containers"]
    annotations, security = metadata.get("annotations"), spec.get("securityContext", {})
    template = {
        "metadata": {
            "labels": _without_ours(metadata.get("labels", {})) | labels,
            **({"annotations": annotations} if annotations else {}),
        },
        "spec": {
            **_without(OUR_POD_FIELDS, spec),
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {
                **{name: security[name] for name in security if name in SECURITY_FIELDS_LEFT_OPEN},
                "runAsNonRoot": True,
                "runAsUser": _UID,
                "runAsGroup": _UID,
                "fsGroup": _UID,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [_without(OUR_CONTAINER_FIELDS, runner) | container],
            "volumes": volumes,
        },
    }
    return with_text_quantities(template)


def _without_ours(labels: dict[str, str]) -> dict[str, str]:
    """A batch's pod lacks some of our labels, and nobody else may say whose it is."""
    return {name: text for name, text in labels.items() if not name.startswith(f"{names.GROUP}/")}


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """`below` with what `above` has, as a JSON merge patch (RFC 7386) but for two fields.

    The runner's container is merged, too, though it is in a list; `resources` are replaced, since
    one template's requests may be more than the other's limits.
    """
    result = dict(below)
    for key, value in above.items():
        if value is None:
            result.pop(key, None)
        elif key == "containers" and isinstance(value, list):
            result[key] = [functools.reduce(_merged, value, *result.get(key, [{}]))]
        elif isinstance(value, dict) and key != "resources":
            result[key] = _merged(result.get(key, {}), value)
        else:
            result[key] = value
    return result


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


def _runner(
    env: list[dict[str, Any]],
    accesses: Sequence[StorageAccess],
    defaults: JobSettings,
    secret: dict[str, Any] | None = None,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Returns the container, without what templates say of it, and the pod's volumes."""
    mounts = [mount for each in accesses for mount in each.mounts]
    volumes = [volume for each in accesses for volume in each.volumes]
    container = {
        "name": names.RUNNER_CONTAINER,
        "image": defaults.runner_image,
        "env": [*env, *(entry for each in accesses for entry in each.env)],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePath": runner_protocol.TERMINATION_MESSAGE_PATH,
        "terminationMessagePolicy": "File",
        "volumeMounts": [*mounts, _SCRATCH_MOUNT, *([_SECRET_MOUNT] if secret else [])],
    }
    return container, [*volumes, _SCRATCH_VOLUME, *([secret] if secret else [])]


def _request_environment(export: BackupExport, task: str) -> list[dict[str, Any]]:
    spec = export.spec
    created = timestamps.from_text(export.metadata.creation_timestamp)
    return literals(
        {
            runner_protocol.ENV_TASK: task if task != TASK_EXPORT else None,
            runner_protocol.ENV_JOB_ID: export.job_id,
            runner_protocol.ENV_PROJECT_ID: spec.project_id,
            runner_protocol.ENV_FORMAT: spec.format,
            runner_protocol.ENV_COMPRESSION: spec.effective_compression,
            runner_protocol.ENV_STORAGE_PATH: spec.storage_path,
            runner_protocol.ENV_FILE_NAME: export.file_name,
            runner_protocol.ENV_CREATED_AT: timestamps.to_text(created),
        }
    )
