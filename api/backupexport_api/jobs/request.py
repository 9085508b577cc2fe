"""The body of POST /api/backup/export, and the BackupExport that is made from it."""

from datetime import datetime
from typing import Any

from backupexport_contract import names, timestamps
from backupexport_contract.backup_export import BackupExportSpec, ExportOptions
from backupexport_runtime.recipients import is_usable
from pydantic import ConfigDict, ValidationInfo, field_validator
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

# What the validator below refuses, for readers of the OpenAPI document.
_COMPRESSION_WITHOUT_COMPRESS: JsonDict = {
    "required": ["compress", "compression"],
    "properties": {"compress": {"const": False}, "compression": {"type": "string"}},
}


class ExportRequest(ExportOptions):
    """What to export and how."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        hide_input_in_errors=True,
        json_schema_extra={
            "not": _COMPRESSION_WITHOUT_COMPRESS,
            "examples": [
                {"project_id": "proj-123"},
                {"project_id": "proj-123", "format": "tar", "storage_path": "before/migration"},
            ],
        },
    )

    @field_validator("compression")
    @classmethod
    def _only_when_compressing(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and info.data.get("compress") is False:
            raise PydanticCustomError(
                "compression_without_compress", "is only allowed with compress: true"
            )
        return value

    @field_validator("encrypt_to")
    @classmethod
    def _recipients_are_usable(cls, value: list[str] | None) -> list[str] | None:
        if not all(map(is_usable, value or ())):
            raise PydanticCustomError(
                "recipient_invalid",
                "must hold recipients that age can encrypt to; one is cut, mistyped, or of a size "
                "that age refuses",
            )
        return value


def export_manifest(
    request: ExportRequest, *, job_id: str, subject: str, created: datetime
) -> dict[str, Any]:
    """Return the BackupExport to store, as a Kubernetes object without a status."""
    given = request.model_dump(exclude_none=True)
    # Defaults are written, too: a later version may have others.
    spec = BackupExportSpec(**given)
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.EXPORT_KIND,
        "metadata": {
            # So that one job can't be stored twice.
            "name": job_id,
            "labels": {
                names.LABEL_JOB_ID: job_id,
                names.LABEL_PROJECT_HASH: names.project_hash(request.project_id),
            },
            # The subject is any text, which a label may not hold.
            "annotations": {
                names.ANNOTATION_REQUESTED_BY: subject,
                names.ANNOTATION_CREATED_AT: timestamps.to_text(created),
            },
        },
        "spec": spec.model_dump(mode="json", by_alias=True, exclude_unset=True),
    }
