"""What the Ready condition of an ExportTarget says; pure."""

from collections.abc import Iterable

from backupexport_contract import timestamps
from backupexport_contract.export_target import ExportTarget, ExportTargetStatus
from backupexport_contract.kubernetes_model import Condition

from backupexport_operator.manifests.status import with_condition
from backupexport_operator.observed.observation import serving_target


def readiness(target: ExportTarget, rivals: Iterable[ExportTarget]) -> tuple[bool, str, str]:
    """Returns whether `target` is ready, a reason, a message.  `rivals` may include `target`."""
    older = serving_target([target, *rivals])
    if older is not None and older.metadata.uid != target.metadata.uid:
        return (
            False,
            "DuplicateProject",
            f"ExportTarget {older.metadata.name} is older and serves project "
            f"{target.spec.project_id}: delete one of the two.",
        )
    if target.spec.suspend:
        return False, "Suspended", "New exports wait until spec.suspend is false."
    return True, "Serving", f"Exports of project {target.spec.project_id} use this target."


def wanted_status(target: ExportTarget, rivals: list[ExportTarget]) -> ExportTargetStatus:
    """Returns the target's status with the Ready condition as it should be now."""
    ready, reason, message = readiness(target, rivals)
    condition = Condition(
        type="Ready",
        status="True" if ready else "False",
        reason=reason,
        message=message,
        last_transition_time=timestamps.to_text(timestamps.now()),
        observed_generation=target.metadata.generation,
    )
    return target.status.model_copy(
        update={
            "observed_generation": target.metadata.generation,
            "conditions": with_condition(target.status.conditions, condition),
        }
    )
