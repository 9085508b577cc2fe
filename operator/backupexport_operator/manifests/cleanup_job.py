"""The Job that cleans up after an export; pure."""

from typing import Any

from backupexport_contract import names, runner_protocol
from backupexport_contract.backup_export import BackupExport

from backupexport_operator.manifests.pod import (
    LABEL_INSTANCE,
    RunnerDefaults,
    owner_reference,
    pod_template,
    queue_label,
    request_environment,
    runner_container,
    task_labels,
    task_templates,
)

_ATTEMPTS = 3
# An export that has failed says so after its cleanup (see also export_files.CLEANUP_PAUSE).
_DEADLINE_SECONDS = 180
_TTL_SECONDS = 600
# A complete one says that the file is gone, for as long as a mail may keep the resource.
_REMOVAL_TTL_SECONDS = 8 * 24 * 3600


def cleanup_manifest(
    export: BackupExport, task: str, defaults: RunnerDefaults, *, is_owned: bool = True
) -> dict[str, Any]:
    """Returns a batch/v1 Job for `task`; it gets no Secret.

    `is_owned` is false if the export is gone already; the Job is then deleted by its TTL alone.
    """
    labels = task_labels(export, task, defaults)
    is_kept = is_owned and task == runner_protocol.TASK_REMOVE
    # Kueue may be configured to hold back every Job without a queue.
    queue = queue_label(defaults.queue_name)
    env = [
        {"name": runner_protocol.ENV_TASK, "value": task},
        *request_environment(export),
    ]
    container = runner_container(env, export.spec.project_id, defaults)
    metadata: dict[str, Any] = {
        "name": names.task_job_name(export.metadata.name, task),
        "namespace": export.metadata.namespace,
        "labels": labels | queue,
    }
    if is_owned:
        metadata["ownerReferences"] = [owner_reference(export)]
    else:
        # Argo CD may delete what has this label and no owner.
        metadata["labels"].pop(LABEL_INSTANCE, None)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {
            "backoffLimit": _ATTEMPTS - 1,
            "activeDeadlineSeconds": _DEADLINE_SECONDS,
            "ttlSecondsAfterFinished": _REMOVAL_TTL_SECONDS if is_kept else _TTL_SECONDS,
            "template": pod_template(labels, container, defaults, *task_templates(defaults)),
        },
    }
