"""The Kubernetes Events that tell of a change of status; pure."""

import hashlib
from dataclasses import dataclass
from typing import Any

from backupexport_contract import names, timestamps
from backupexport_contract.backup_export import BackupExport, BackupExportStatus
from backupexport_contract.reasons import Phase

from backupexport_operator.manifests.status import (
    delayed_between,
    server_verified,
    settled_between,
)


@dataclass(frozen=True, slots=True)
class ExportEvent:
    """A Kubernetes Event to post on a BackupExport; `type` is Normal or Warning."""

    type: str
    reason: str
    message: str


def events_between(old: BackupExportStatus, new: BackupExportStatus) -> list[ExportEvent]:
    """Returns what `kubectl describe` should tell of the step from `old` to `new`."""
    events, before = [], (old.reason, old.message, old.phase)
    if new.job_name and not old.job_name:
        events.append(ExportEvent("Normal", "Accepted", f"Created Job {new.job_name}."))
    if new.message and not new.reason and not new.job_name and not old.message:
        events.append(ExportEvent("Normal", "Queued", new.message))
    if new.phase == Phase.RUNNING and old.phase != Phase.RUNNING:
        events.append(ExportEvent("Normal", "Started", "The runner has started."))
    if new.phase == Phase.SUCCEEDED and old.phase != Phase.SUCCEEDED and new.artifact:
        size, path = new.artifact.display_size, new.artifact.path
        events.append(ExportEvent("Normal", "Completed", f"Wrote {path} ({size})."))
    server = server_verified(new.conditions)
    if server and server.status == "False" and not server_verified(old.conditions):
        events.append(ExportEvent("Warning", "ServerNotVerified", server.message))
    if new.phase == Phase.CANCELLED and old.phase != Phase.CANCELLED:
        events.append(ExportEvent("Normal", "Cancelled", new.message or "Cancelled."))
    elif new.reason and (new.reason, new.message, new.phase) != before:
        events.append(ExportEvent("Warning", new.reason, new.message or ""))
    return events + _delivery_events(old, new)


def _delivery_events(old: BackupExportStatus, new: BackupExportStatus) -> list[ExportEvent]:
    events = [
        ExportEvent("Warning", "DeliveryDelayed", f"{kind}: {condition.message}")
        for kind, condition in delayed_between(old, new)
    ]
    for kind, condition in settled_between(old, new):
        went_well = condition.status == "True"
        severity = "Normal" if went_well else "Warning"
        reason = condition.type if went_well else "DeliveryFailed"
        events.append(ExportEvent(severity, reason, f"{kind}: {condition.message}"))
    return events


# In bytes: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/
_LONGEST_NOTE = 1024
_LONGEST_INSTANCE = 128


def event_manifest(
    export: BackupExport, event: ExportEvent, namespace: str, instance: str
) -> dict[str, Any]:
    """Returns an events.k8s.io/v1 Event, named by its content, so that a repeat is the same one.

    `instance` is the name of the pod that posts it.
    """
    text = f"{export.metadata.uid}\n{event.type}\n{event.reason}\n{event.message}"
    digest = hashlib.sha256(text.encode(errors="replace")).hexdigest()[:16]
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {
            "name": f"{export.metadata.name[:200].rstrip('-.')}.{digest}",
            "namespace": namespace,
        },
        "regarding": {
            "apiVersion": names.API_VERSION,
            "kind": names.EXPORT_KIND,
            "name": export.metadata.name,
            "namespace": namespace,
            "uid": export.metadata.uid,
        },
        "type": event.type,
        "reason": event.reason,
        "action": event.reason,
        "note": event.message.encode(errors="replace")[:_LONGEST_NOTE].decode(errors="ignore"),
        "reportingController": names.MANAGED_BY,
        "reportingInstance": instance[:_LONGEST_INSTANCE],
        "eventTime": _now(),
    }


def series_patch(count: int) -> dict[str, Any]:
    """Returns the merge patch that says of an Event that it has happened `count` times."""
    return {"series": {"count": count, "lastObservedTime": _now()}}


def times_happened(manifest: dict[str, Any]) -> int:
    """Returns how often the Event `manifest` says that it has happened."""
    return int((manifest.get("series") or {}).get("count", 1))


def _now() -> str:
    return timestamps.now().isoformat(timespec="microseconds").replace("+00:00", "Z")
