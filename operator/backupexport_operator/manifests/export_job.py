"""The Job that makes an export's file; pure."""

from typing import Any

from backupexport_contract import names, reasons, runner_protocol
from backupexport_contract.backup_export import BackupExport
from backupexport_contract.export_target import ExportTarget

from backupexport_operator.manifests.pod import (
    IGNORE_DISRUPTIONS,
    VOLUME,
    RunnerDefaults,
    literals,
    owner_reference,
    pod_template,
    queue_label,
    request_environment,
    resources_template,
    runner_container,
    task_labels,
)


def job_manifest(
    export: BackupExport, target: ExportTarget, defaults: RunnerDefaults
) -> dict[str, Any]:
    """Returns a batch/v1 Job, which gets the target's Secret."""
    labels = task_labels(export, runner_protocol.TASK_EXPORT, defaults)
    queue = queue_label(target.spec.queue_name or defaults.queue_name)
    own = target.spec.resources.to_manifest() if target.spec.resources else {}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": names.job_name(export.metadata.name),
            "namespace": export.metadata.namespace,
            "labels": labels | queue,
            "ownerReferences": [owner_reference(export)],
        },
        "spec": {
            "backoffLimit": defaults.backoff_limit,
            "activeDeadlineSeconds": (
                export.spec.active_deadline_seconds
                or target.spec.active_deadline_seconds
                or defaults.active_deadline_seconds
            ),
            "ttlSecondsAfterFinished": defaults.ttl_seconds_after_finished,
            "podFailurePolicy": _POD_FAILURE_POLICY,
            # A pod that is being deleted still writes: another one may start when it has ended.
            "podReplacementPolicy": "Failed",
            "template": pod_template(
                labels,
                _container(export, target, defaults),
                defaults,
                *([resources_template(own)] if own else []),
            ),
        },
    }


# https://kubernetes.io/docs/concepts/workloads/controllers/job/#pod-failure-policy: the first
# rule that matches wins, and what none matches counts against backoffLimit.
_POD_FAILURE_POLICY = {
    "rules": [
        IGNORE_DISRUPTIONS,
        {
            "action": "FailJob",
            "onExitCodes": {
                "containerName": names.RUNNER_CONTAINER,
                "operator": "In",
                "values": sorted(int(code) for code in reasons.FATAL_EXIT_CODES),
            },
        },
    ]
}


def _container(
    export: BackupExport, target: ExportTarget, defaults: RunnerDefaults
) -> dict[str, Any]:
    project = export.spec.project_id
    container = runner_container(
        _environment(export, target),
        project,
        defaults,
        secret_name=target.spec.secret_ref.name,
    )
    if export.spec.format == "tar":
        spool = f"{project}/{runner_protocol.SPOOL_DIRECTORY}"
        container["volumeMounts"].append(
            {"name": VOLUME, "mountPath": runner_protocol.SPOOL_MOUNT, "subPath": spool}
        )
    return container


def _environment(export: BackupExport, target: ExportTarget) -> list[dict[str, Any]]:
    values = {
        runner_protocol.ENV_SECRET_NAME: target.spec.secret_ref.name,
        runner_protocol.ENV_SSLMODE: target.spec.sslmode,
        runner_protocol.ENV_SSLROOTCERT: target.spec.sslrootcert,
    }
    renamed = target.spec.keys.to_manifest() if target.spec.keys else {}
    return (
        request_environment(export)
        + literals(values)
        + [
            {
                "name": runner_protocol.KEY_ENV_PREFIX + key.upper(),
                "valueFrom": {
                    "secretKeyRef": {"name": target.spec.secret_ref.name, "key": secret_key}
                },
            }
            for key, secret_key in renamed.items()
        ]
    )
