"""The BackupExport that a request becomes."""

from datetime import datetime
from typing import Any

from backupexport_contract import names, timestamps
from backupexport_contract.resources import BackupExportSpec

from backupexport_api.export_request import ExportRequest


def export_manifest(
    request: ExportRequest, *, job_id: str, subject: str, created: datetime
) -> dict[str, Any]:
    """Make the manifest; its name is the job id, so that one job can't be stored twice.

    `subject` is any text, which an annotation may hold and a label may not.
    """
    given = request.model_dump(exclude_none=True)
    # The schema has defaults for these; saying them keeps an old record true when they change.
    spec = BackupExportSpec(**given)
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.EXPORT_KIND,
        "metadata": {
            "name": job_id,
            "labels": {
                names.LABEL_JOB_ID: job_id,
                names.LABEL_PROJECT_HASH: names.project_hash(request.project_id),
            },
            "annotations": {
                names.ANNOTATION_REQUESTED_BY: subject,
                names.ANNOTATION_CREATED_AT: timestamps.to_text(created),
            },
        },
        "spec": spec.model_dump(mode="json", by_alias=True, exclude_unset=True),
    }
