"""From one status to the next: the smallest patch, the conditions, and the Events to post."""

from dataclasses import dataclass
from typing import Any

from backupexport_contract.kubernetes_model import Condition, KubernetesModel
from backupexport_contract.reasons import Phase
from backupexport_contract.resources import BackupExportStatus

from backupexport_operator.delivery_choice import delayed_between, settled_between


@dataclass(frozen=True, slots=True)
class EventFact:
    """A Kubernetes Event to post on a BackupExport; `type` is Normal or Warning."""

    type: str
    reason: str
    message: str


def merge_patch(old: KubernetesModel, new: KubernetesModel) -> dict[str, Any]:
    """The JSON merge patch (RFC 7386) that makes `new` of `old`; empty where nothing differs."""
    before, after = old.to_manifest(), new.to_manifest()
    changed = {key: value for key, value in after.items() if before.get(key) != value}
    return changed | {key: None for key in before if key not in after}


def with_condition(conditions: list[Condition], wanted: Condition) -> list[Condition]:
    """`conditions` with `wanted` set; its transition time stays while its status stays."""
    kept = [c for c in conditions if c.type != wanted.type]
    previous = next((c for c in conditions if c.type == wanted.type), None)
    if previous is not None and previous.status == wanted.status:
        wanted = wanted.model_copy(update={"last_transition_time": previous.last_transition_time})
    return [*kept, wanted]


def events_between(old: BackupExportStatus, new: BackupExportStatus) -> list[EventFact]:
    """What `kubectl describe` should tell of the step from `old` to `new`."""
    events = []
    if new.job_name and not old.job_name:
        events.append(EventFact("Normal", "Accepted", f"Created Job {new.job_name}."))
    if new.message and not new.reason and not new.job_name and not old.message:
        events.append(EventFact("Normal", "Queued", new.message))
    if new.phase == Phase.RUNNING and old.phase != Phase.RUNNING:
        events.append(EventFact("Normal", "Started", "The runner has started."))
    if new.phase == Phase.SUCCEEDED and old.phase != Phase.SUCCEEDED and new.artifact:
        size, path = new.artifact.display_size, new.artifact.path
        events.append(EventFact("Normal", "Completed", f"Wrote {path} ({size})."))
    if new.phase == Phase.CANCELLED and old.phase != Phase.CANCELLED:
        events.append(EventFact("Normal", "Cancelled", new.message or "Cancelled."))
    elif new.reason and (new.reason, new.message, new.phase) != (
        old.reason,
        old.message,
        old.phase,
    ):
        events.append(EventFact("Warning", new.reason, new.message or ""))
    return events + _delivery_events(old, new)


def _delivery_events(old: BackupExportStatus, new: BackupExportStatus) -> list[EventFact]:
    events = [
        EventFact("Warning", "DeliveryDelayed", f"{kind}: {condition.message}")
        for kind, condition in delayed_between(old, new)
    ]
    for kind, condition in settled_between(old, new):
        went_well = condition.status == "True"
        severity = "Normal" if went_well else "Warning"
        reason = condition.type if went_well else "DeliveryFailed"
        events.append(EventFact(severity, reason, f"{kind}: {condition.message}"))
    return events
