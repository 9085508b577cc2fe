"""What the conditions Ready and StorageReady of an ExportTarget say; pure."""

from collections.abc import Collection, Iterable

from backupexport_contract import timestamps
from backupexport_contract.export_target import ExportTarget, ExportTargetStatus
from backupexport_contract.kubernetes_model import Condition
from backupexport_contract.reasons import Reason
from backupexport_contract.storages import DEFAULT_NAME

from backupexport_operator.manifests.status import with_condition
from backupexport_operator.observed.observation import serving_target
from backupexport_operator.observed.own_secrets import own_secret_problem
from backupexport_operator.observed.recipients import target_problem
from backupexport_operator.observed.storage_state import StorageState

STORAGE_READY = "StorageReady"


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
    if (problem := target_problem(target)) is not None:
        return False, Reason.RECIPIENT_INVALID, problem
    if target.spec.suspend:
        return False, "Suspended", "New exports wait until spec.suspend is false."
    return True, "Serving", f"Exports of project {target.spec.project_id} use this target."


def wanted_status(
    target: ExportTarget,
    rivals: list[ExportTarget],
    storages: Collection[str],
    own_secrets: Collection[str] = (),
    storage: StorageState | None = None,
) -> ExportTargetStatus:
    """Returns the target's status with its conditions as they should be now.

    `storage` is the state of the target's storage; None if storages are not checked.
    """
    ready, reason, message = readiness(target, rivals, storages, own_secrets)
    state = StorageState("True" if ready else "False", reason, message)
    conditions = [c for c in target.status.conditions if c.type != STORAGE_READY or storage]
    conditions = with_condition(conditions, _condition(target, "Ready", state))
    if storage is not None:
        conditions = with_condition(conditions, _condition(target, STORAGE_READY, storage))
    return target.status.model_copy(
        update={
            "observed_generation": target.metadata.generation,
            "conditions": conditions,
        }
    )


def _condition(target: ExportTarget, kind: str, state: StorageState) -> Condition:
    return Condition(
        type=kind,
        status=state.status,
        reason=state.reason,
        message=state.message,
        last_transition_time=timestamps.to_text(timestamps.now()),
        observed_generation=target.metadata.generation,
    )
