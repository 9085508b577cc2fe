"""From one status to the next: the patch that is written, its conditions, what they tell anew."""

from typing import Any, Literal

from backupexport_contract import timestamps
from backupexport_contract.backup_export import BackupExportStatus
from backupexport_contract.deliveries import conditions_by_kind, is_pending, pending_by_kind
from backupexport_contract.kubernetes_model import Condition, KubernetesModel
from backupexport_contract.reasons import WITHOUT_FAILURE

from backupexport_operator.observed.observation import Observation

Changes = list[tuple[str, Condition]]
"""(kind of delivery, its condition as it is then)."""


def settled_between(old: BackupExportStatus, new: BackupExportStatus) -> Changes:
    """Returns the deliveries that ended, well or not, from `old` to `new`."""
    before = conditions_by_kind(old)
    return [
        (kind, condition)
        for kind, condition in conditions_by_kind(new).items()
        if not is_pending(condition) and (kind not in before or is_pending(before[kind]))
    ]


def delayed_between(old: BackupExportStatus, new: BackupExportStatus) -> Changes:
    """Returns the deliveries that wait for another reason than in `old`."""
    before = conditions_by_kind(old)
    return [
        (kind, condition)
        for kind, condition in pending_by_kind(new).items()
        if condition.reason not in WITHOUT_FAILURE
        and (kind not in before or before[kind].reason != condition.reason)
    ]


def merge_patch(old: KubernetesModel, new: KubernetesModel) -> dict[str, Any]:
    """Returns the JSON merge patch (RFC 7386) that makes `new` of `old`; empty if they are equal.

    It names what differs alone, at any depth of objects; a list that differs is named whole.
    """
    return _difference(old.to_manifest(), new.to_manifest())


def _difference(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    patch: dict[str, Any] = {key: None for key in old if key not in new}
    for key, value in new.items():
        before = old.get(key)
        if isinstance(value, dict) and isinstance(before, dict):
            if part := _difference(before, value):
                patch[key] = part
        elif key not in old or before != value:
            patch[key] = value
    return patch


def with_condition(conditions: list[Condition], wanted: Condition) -> list[Condition]:
    """Returns `conditions` with `wanted` last; its transition time moves only with its status."""
    kept = [c for c in conditions if c.type != wanted.type]
    previous = next((c for c in conditions if c.type == wanted.type), None)
    if previous is not None and previous.status == wanted.status:
        wanted = wanted.model_copy(update={"last_transition_time": previous.last_transition_time})
    return [*kept, wanted]


def of_generation(status: BackupExportStatus, generation: int) -> BackupExportStatus:
    """Returns `status`, and all of its conditions, as computed from that metadata.generation."""
    conditions = [
        condition.model_copy(update={"observed_generation": generation})
        for condition in status.conditions
    ]
    return status.model_copy(update={"observed_generation": generation, "conditions": conditions})


ConditionStatus = Literal["True", "False", "Unknown"]
# A condition of exports, and of their targets, whose newest export tells.
SERVER_VERIFIED = "ServerVerified"
SERVER_VERIFIED_WORDS: dict[ConditionStatus, tuple[str, str]] = {
    "True": ("Verified", "The database server's certificate was verified."),
    "False": (
        "NotVerified",
        "Nobody verified that the database server is the right one: give the target the "
        "authority's certificates (sslrootcert), or sslmode verify-full.",
    ),
}


def server_verified(conditions: list[Condition]) -> Condition | None:
    """Returns the condition that tells of the server, None if there is none."""
    return next((c for c in conditions if c.type == SERVER_VERIFIED), None)


def condition_now(
    seen: Observation, kind: str, status: ConditionStatus, reason: str, message: str
) -> Condition:
    """Returns a condition computed from `seen`, at that time and of that generation."""
    return Condition(
        type=kind,
        status=status,
        reason=reason,
        message=message,
        last_transition_time=timestamps.to_text(seen.now),
        observed_generation=seen.export.metadata.generation,
    )
