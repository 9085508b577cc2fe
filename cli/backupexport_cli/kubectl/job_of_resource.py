"""A BackupExport as Kubernetes has it, shown as the api shows it; pure, and without pydantic.

A test holds it equal to the api's own view.
"""

from typing import Any

from backupexport_contract import names, timestamps
from backupexport_contract.reasons import REST_STATUS, Phase
from backupexport_contract.restore_commands import DumpFile, check_command, restore_command
from backupexport_contract.runner_protocol import PATTERN_LISTS

from backupexport_cli.errors import CliError, ExitCode
from backupexport_cli.service.interface import Job

Resource = dict[str, Any]
"""A BackupExport as `kubectl get --output=json` has it."""

SPEC_DEFAULTS: Resource = {
    "format": "sql",
    "content": "all",
    "owner": True,
    "privileges": True,
    "compress": True,
}
"""What the CRD's schema fills in."""

_MAIL = "Notified"
_DELIVERIES = {"telegram": "Delivered"}
_DELIVERY_STATUS = {"True": "sent", "False": "failed", "Unknown": "pending"}
# A target leaves these out of every export of its project.
_TARGET_LISTS = ("exclude_schemas", "exclude_tables", "exclude_table_data")
_PROGRESS = {
    "percent": "percent",
    "dumped_bytes": "dumpedBytes",
    "estimated_bytes": "estimatedBytes",
    "seconds_left": "secondsLeft",
}
_ARTIFACT = {
    "path": "path",
    "size_bytes": "sizeBytes",
    "uncompressed_bytes": "uncompressedBytes",
    "sha256": "sha256",
    "server_version": "serverVersion",
    "dump_version": "dumpVersion",
    "restore_with": "restoreWith",
    "storage": "storage",
    "encrypted_to": "encryptedTo",
}
_ABSENT_ARTIFACT: Resource = {"restoreWith": None, "storage": None, "encryptedTo": []}


def camel_case(name: str) -> str:
    """Return a field's name as a custom resource spells it."""
    head, *rest = name.split("_")
    return head + "".join(map(str.capitalize, rest))


def job_of(resource: Resource) -> Job:
    """Return what REST shows of a BackupExport; raises CliError for one of another make."""
    try:
        return _job_of(resource)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        name = _name_of(resource)
        raise CliError(
            ExitCode.FAILED,
            f"This version does not understand the BackupExport {name} ({type(error).__name__}).",
            "Upgrade this command to the version of the chart.",
        ) from None


def _job_of(resource: Resource) -> Job:
    metadata, status = resource["metadata"], resource.get("status") or {}
    spec = SPEC_DEFAULTS | resource["spec"]
    annotations = metadata.get("annotations") or {}
    conditions = {each["type"]: each for each in status.get("conditions") or ()}
    progress, reason = status.get("progress"), status.get("reason")
    return {
        "job_id": names.job_id_of(metadata["name"], metadata["uid"]),
        "status": REST_STATUS[Phase(status.get("phase") or Phase.PENDING)],
        "project_id": spec["projectId"],
        "created_at": _created_at(metadata, annotations),
        "format": spec["format"],
        "content": spec["content"],
        **_patterns(spec, status.get("targetExcludes") or {}),
        "owner": spec["owner"],
        "privileges": spec["privileges"],
        "compress": spec["compress"],
        "compression": (spec.get("compression") or "zstd") if spec["compress"] else None,
        "storage_path": spec.get("storagePath"),
        "requested_by": annotations.get(names.ANNOTATION_REQUESTED_BY),
        "started_at": _time(status.get("startTime")),
        "completed_at": _time(status.get("completionTime")),
        "progress": progress and {ours: progress.get(its) for ours, its in _PROGRESS.items()},
        "artifact": _artifact(spec, status.get("artifact")),
        "warnings": _remarks(status.get("warnings")),
        "restore_hints": _remarks(status.get("restoreHints")),
        "error": reason and {"reason": reason, "message": status.get("message") or ""},
        "notification": _outcome(conditions[_MAIL]) if _MAIL in conditions else None,
        "deliveries": [
            {**_outcome(conditions[condition_type]), "kind": kind}
            for kind, condition_type in _DELIVERIES.items()
            if condition_type in conditions
        ],
    }


def _patterns(spec: Resource, target: Resource) -> dict[str, list[str]]:
    lists = {}
    for name in PATTERN_LISTS:
        given = spec.get(camel_case(name)) or []
        if name in _TARGET_LISTS:
            given = dict.fromkeys((*given, *(target.get(camel_case(name)) or ())))
        lists[name] = list(given)
    return lists


def _artifact(spec: Resource, artifact: Resource | None) -> Job | None:
    if artifact is None:
        return None
    told = {**_ABSENT_ARTIFACT, **artifact}
    shown = {ours: told[its] for ours, its in _ARTIFACT.items()}
    dump = DumpFile(
        shown["path"],
        spec["format"],
        (spec.get("compression") or "zstd") if spec["compress"] else "none",
        shown["server_version"],
        shown["dump_version"],
        spec["owner"],
        spec["privileges"],
    )
    return shown | {
        "check_command": check_command(shown["path"], shown["sha256"]),
        "restore_command": restore_command(dump),
    }


def _remarks(remarks: list[Resource] | None) -> list[dict[str, str]]:
    return [{"code": each["code"], "message": each["message"]} for each in remarks or ()]


def _outcome(condition: Resource) -> dict[str, str | None]:
    return {
        "status": _DELIVERY_STATUS[condition["status"]],
        "reason": condition["reason"],
        "message": condition.get("message") or "",
        "at": _time(condition["lastTransitionTime"]),
    }


def _created_at(metadata: Resource, annotations: dict[str, str]) -> str | None:
    # Finer than Kubernetes' own; but whoever may write BackupExports may write anything there.
    noted = annotations.get(names.ANNOTATION_CREATED_AT, metadata["creationTimestamp"])
    try:
        return _time(noted)
    except ValueError:
        return _time(metadata["creationTimestamp"])


def _time(text: str | None) -> str | None:
    return None if text is None else timestamps.to_text(timestamps.from_text(text))


def _name_of(resource: Resource) -> str:
    metadata = resource.get("metadata") if isinstance(resource, dict) else None
    return str(metadata.get("name", "")) if isinstance(metadata, dict) else ""
