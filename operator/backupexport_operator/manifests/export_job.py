"""The Job that makes an export's file; pure."""

from collections.abc import Iterable
from typing import Any

from backupexport_contract import names, reasons, runner_protocol
from backupexport_contract.backup_export import BackupExport
from backupexport_contract.export_target import ExportTarget

from backupexport_operator.manifests.pod import (
    IGNORE_DISRUPTIONS,
    VOLUME,
    RunnerDefaults,
    literals,
    runner_job,
)


def _on_exit_codes(action: str, codes: Iterable[reasons.ExitCode]) -> dict[str, Any]:
    values = sorted(int(code) for code in codes)
    on = {"containerName": names.RUNNER_CONTAINER, "operator": "In", "values": values}
    return {"action": action, "onExitCodes": on}


# https://kubernetes.io/docs/concepts/workloads/controllers/job/#pod-failure-policy: the first
# rule that matches wins, and what none matches counts against backoffLimit.
_POD_FAILURE_POLICY = {
    "rules": [
        IGNORE_DISRUPTIONS,
        _on_exit_codes("Ignore", reasons.NOT_YET_EXIT_CODES),
        _on_exit_codes("FailJob", reasons.FATAL_EXIT_CODES),
    ]
}


def job_manifest(
    export: BackupExport, target: ExportTarget, defaults: RunnerDefaults
) -> dict[str, Any]:
    """Returns a batch/v1 Job, which gets the target's Secret."""
    spool = {
        "name": VOLUME,
        "mountPath": runner_protocol.SPOOL_MOUNT,
        "subPath": f"{export.spec.project_id}/{runner_protocol.SPOOL_DIRECTORY}",
    }
    return runner_job(
        export,
        runner_protocol.TASK_EXPORT,
        defaults,
        {
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
        },
        target=target,
        env=_environment(target),
        secret_name=target.spec.secret_ref.name,
        mounts=[spool] if export.spec.format == "tar" else [],
    )


def _environment(target: ExportTarget) -> list[dict[str, Any]]:
    secret_name = target.spec.secret_ref.name
    values = {
        runner_protocol.ENV_SECRET_NAME: secret_name,
        runner_protocol.ENV_SSLMODE: target.spec.sslmode,
        runner_protocol.ENV_SSLROOTCERT: target.spec.sslrootcert,
    }
    renamed = target.spec.keys.to_manifest() if target.spec.keys else {}
    return literals(values) + [
        {
            "name": runner_protocol.KEY_ENV_PREFIX + key.upper(),
            "valueFrom": {"secretKeyRef": {"name": secret_name, "key": secret_key}},
        }
        for key, secret_key in renamed.items()
    ]
