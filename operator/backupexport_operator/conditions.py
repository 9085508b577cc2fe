"""A condition as it is told from now on."""

from typing import Literal

from backupexport_contract import timestamps
from backupexport_contract.kubernetes_model import Condition

from backupexport_operator.observation import Observation

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
