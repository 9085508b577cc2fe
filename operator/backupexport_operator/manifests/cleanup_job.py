"""The Job that cleans up after an export; pure."""

from typing import Any

from backupexport_contract.backup_export import BackupExport
from backupexport_contract.runner_protocol import TASK_REMOVE

from backupexport_operator.manifests.pod import LABEL_INSTANCE, RunnerDefaults, runner_job

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
    is_kept = is_owned and task == TASK_REMOVE
    spec = {
        "backoffLimit": _ATTEMPTS - 1,
        "activeDeadlineSeconds": _DEADLINE_SECONDS,
        "ttlSecondsAfterFinished": _REMOVAL_TTL_SECONDS if is_kept else _TTL_SECONDS,
    }
    job = runner_job(export, task, defaults, spec)
    if not is_owned:
        del job["metadata"]["ownerReferences"]
        # Argo CD may delete what has this label and no owner.
        job["metadata"]["labels"].pop(LABEL_INSTANCE, None)
    return job
