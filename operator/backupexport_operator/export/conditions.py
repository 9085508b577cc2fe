"""The conditions that every status of an export has, for whoever waits for its file; pure.

They are those of kstatus, which `kubectl wait`, Flux and others know:
https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md.  A cancelled export
is stalled as a failed one is: it has no file, and what comes after it must not go on.
"""

import functools

from backupexport_contract.backup_export import BackupExportStatus
from backupexport_contract.reasons import Phase

from backupexport_operator.manifests.status import ConditionStatus, condition_now, with_condition
from backupexport_operator.observed.observation import Observation

READY = "Ready"
RECONCILING = "Reconciling"
STALLED = "Stalled"
# Each is True in its own phase alone, and there from the first status on.
END_CONDITIONS = {
    "Complete": Phase.SUCCEEDED,
    "Failed": Phase.FAILED,
    "Cancelled": Phase.CANCELLED,
}
_TYPES = (READY, RECONCILING, STALLED, *END_CONDITIONS)
_READY: dict[Phase, ConditionStatus] = {
    Phase.SUCCEEDED: "True",
    Phase.FAILED: "False",
    Phase.CANCELLED: "False",
}
_WORDS = {
    Phase.PENDING: "The export has not begun yet.",
    Phase.RUNNING: "The export is under way.",
    Phase.SUCCEEDED: "The file is whole under its final name.",
}


def with_phase_conditions(seen: Observation, status: BackupExportStatus) -> BackupExportStatus:
    """Returns `status` with the conditions that its phase, reason and message make."""
    phase = status.phase or Phase.PENDING
    reason = status.reason or phase
    message = status.message or _WORDS.get(phase, "")
    now = functools.partial(condition_now, seen)
    told = [now(READY, _READY.get(phase, "Unknown"), reason, message)]
    # As kstatus has them, these two are there only while they are True.
    if not phase.is_finished:
        told.append(now(RECONCILING, "True", reason, message))
    elif phase is not Phase.SUCCEEDED:
        told.append(now(STALLED, "True", reason, message))
    for kind, end in END_CONDITIONS.items():
        told.append(
            now(kind, "True", reason, message) if phase is end else now(kind, "False", phase, "")
        )
    aged = functools.reduce(with_condition, told, status.conditions)[-len(told) :]
    others = [condition for condition in status.conditions if condition.type not in _TYPES]
    return status.model_copy(update={"conditions": [*aged, *others]})
