"""The body of POST /api/backup/export: what it may say."""

from backupexport_contract.resources import ExportOptions
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
