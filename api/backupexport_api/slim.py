"""Resources reduced to what the api shows: a cache of ten thousand has to stay small."""

import sys
from typing import Any

from backupexport_contract import names
from backupexport_contract.resources import BackupExport, ExportTarget

_METADATA = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
_ANNOTATIONS = (names.ANNOTATION_REQUESTED_BY, names.ANNOTATION_CREATED_AT)


def slim_export(data: dict[str, Any]) -> BackupExport:
    """Parse a BackupExport without labels, managed fields and conditions."""
    status = {key: value for key, value in data.get("status", {}).items() if key != "conditions"}
    return BackupExport.model_validate(
        {"metadata": _metadata(data), "spec": data["spec"], "status": status}
    )


def slim_target(data: dict[str, Any]) -> ExportTarget:
    """Parse an ExportTarget down to its project id, the only thing the api asks of it."""
    spec = {key: data["spec"][key] for key in ("projectId", "secretRef")}
    return ExportTarget.model_validate({"metadata": _metadata(data), "spec": spec})


def _metadata(data: dict[str, Any]) -> dict[str, Any]:
    metadata = data["metadata"]
    annotations = metadata.get("annotations", {})
    slim = {key: metadata[key] for key in _METADATA if key in metadata}
    slim["namespace"] = sys.intern(slim.get("namespace", ""))
    slim["annotations"] = {key: annotations[key] for key in _ANNOTATIONS if key in annotations}
    return slim
