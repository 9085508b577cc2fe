"""What the Ready condition of an ExportTarget says; pure."""

from collections.abc import Collection, Iterable

from backupexport_contract import timestamps
from backupexport_contract.export_target import ExportTarget, ExportTargetStatus
from backupexport_contract.kubernetes_model import Condition
from backupexport_contract.reasons import Reason
from backupexport_contract.storages import DEFAULT_NAME

from backupexport_operator.manifests.status import with_condition
from backupexport_operator.observed.observation import serving_target
from backupexport_operator.observed.own_secrets import own_secret_problem


def readiness(
    target: ExportTarget,
    rivals: Iterable[ExportTarget],
    storages: Collection[str],
    own_secrets: Collection[str] = (),
) -> tuple[bool, str, str]:
    """Returns whether `target` is ready, a reason, a message.

    `rivals` may include `target`; `storages` are the names of the chart's, `own_secrets` the
    Secrets that no target may name.
    """
    older = serving_target([target, *rivals])
    if older is not None and older.metadata.uid != target.metadata.uid:
        return (
            False,
            "DuplicateProject",
            f"ExportTarget {older.metadata.name} is older and serves project "
            f"{target.spec.project_id}: delete one of the two.",
        )
    if (problem := own_secret_problem(target, own_secrets)) is not None:
        return False, Reason.SECRET_INVALID, problem
    if (storage := target.spec.storage or DEFAULT_NAME) not in storages:
        problem = f"The chart has no storage {storage}: add it to `storages`, or name another one."
        return False, Reason.STORAGE_NOT_FOUND, problem
    if target.spec.suspend:
        return False, "Suspended", "New exports wait until spec.suspend is false."
    return True, "Serving", f"Exports of project {target.spec.project_id} use this target."


def wanted_status(
    target: ExportTarget,
    rivals: list[ExportTarget],
    storages: Collection[str],
    own_secrets: Collection[str] = (),
) -> ExportTargetStatus:
    """Returns the target's status with the Ready condition as it should be now."""
    ready, reason, message = readiness(target, rivals, storages, own_secrets)
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
