"""Which deliveries an export gets when it ends, and what their conditions say at first."""

from backupexport_contract.deliveries import Deliveries, Delivery
from backupexport_contract.export_target import ExportTarget
from backupexport_contract.kubernetes_model import Condition
from backupexport_contract.reasons import DeliveryReason, Phase

from backupexport_operator.manifests.status import ConditionStatus, condition_now
from backupexport_operator.observed.observation import Observation

NOT_CONFIGURED = (
    "No {kind} delivery is set up here: ask the cluster's administrators for deliveries.{kind} in "
    "the chart or on the ExportTarget."
)
TARGET_IS_AWAY = (
    "The project's ExportTarget is gone, and with it what it says of deliveries.{kind}: create it "
    "again."
)


def settings_now(kind: str, seen: Observation) -> Delivery | None:
    """Returns the settings of `kind`; None if it is not to be made, or not before its target is."""
    if awaits_target(kind, seen):
        return None
    return settings_for(kind, seen.target, seen.deliveries)


def settings_for(kind: str, target: ExportTarget | None, of_chart: Deliveries) -> Delivery | None:
    """Returns the target's settings of `kind`, else the chart's; None if it is not to be made.

    The target's keeps the limits of the chart's, even of one that is not enabled.
    """
    of_target = target.spec.deliveries if target is not None else None
    limits = of_chart.settings_of(kind)
    settings = (of_target.settings_of(kind) if of_target else None) or limits
    if settings is not None and limits is not None:
        settings = settings.within(limits)
    return settings if settings is not None and settings.enabled else None


def awaits_target(kind: str, seen: Observation) -> bool:
    """Returns whether a missing ExportTarget alone can say if and how the delivery is made.

    It may have forbidden it, or named another receiver.
    """
    if seen.target is not None or target_said_nothing(kind, seen):
        return False
    is_noted = seen.export.status.target_name is not None
    return is_noted or Deliveries.kinds()[kind].reads_file


def target_said_nothing(kind: str, seen: Observation) -> bool:
    """Returns whether it is noted that the ExportTarget said nothing of the kind."""
    status = seen.export.status
    return status.target_name is not None and kind not in status.target_deliveries


def first_conditions(seen: Observation, phase: Phase) -> list[Condition]:
    """Returns a condition for each delivery of an export that has just ended in `phase`.

    It tells of a delivery that the export asked for and that is not configured, too.
    """
    conditions = []
    for kind, form in Deliveries.kinds().items():
        if not form.concerns(seen.export.spec, phase):
            continue
        status: ConditionStatus = "Unknown"
        reason, message = DeliveryReason.PENDING, "It is made as soon as possible."
        is_set_up = settings_now(kind, seen) is not None
        if not is_set_up and not awaits_target(kind, seen):
            if not form.is_asked_for(seen.export.spec):
                continue
            status, reason = "False", DeliveryReason.NOT_CONFIGURED
            message = NOT_CONFIGURED.format(kind=kind)
        conditions.append(condition_now(seen, form.condition_type, status, reason, message))
    return conditions
