"""From one status to the next: the smallest patch, the conditions, and the Events to post."""

from typing import Any, Literal

from backupexport_contract import timestamps
from backupexport_contract.backup_export import BackupExportStatus
from backupexport_contract.deliveries import conditions_by_kind, is_pending
from backupexport_contract.kubernetes_model import Condition, KubernetesModel
from backupexport_contract.reasons import UNTROUBLED

from backupexport_operator.observed.observation import Observation


def settled_between(
    old: BackupExportStatus, new: BackupExportStatus
) -> list[tuple[str, Condition]]:
    """The deliveries that have come to an end from `old` to `new`, and how."""
    before = conditions_by_kind(old)
    return [
        (kind, condition)
        for kind, condition in conditions_by_kind(new).items()
        if not is_pending(condition) and (kind not in before or is_pending(before[kind]))
    ]


def delayed_between(
    old: BackupExportStatus, new: BackupExportStatus
) -> list[tuple[str, Condition]]:
    """The deliveries that something new is in the way of, though not for good."""
    before = conditions_by_kind(old)
    return [
        (kind, condition)
        for kind, condition in conditions_by_kind(new).items()
        if is_pending(condition)
        and condition.reason not in UNTROUBLED
        and (kind not in before or before[kind].reason != condition.reason)
    ]


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


ConditionStatus = Literal["True", "False", "Unknown"]


def condition_now(
    seen: Observation, kind: str, status: ConditionStatus, reason: str, message: str
) -> Condition:
    """Computed from what was seen, at that time."""
    return Condition(
        type=kind,
        status=status,
        reason=reason,
        message=message,
        last_transition_time=timestamps.to_text(seen.now),
        observed_generation=seen.export.metadata.generation,
    )
