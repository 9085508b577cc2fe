"""Which deliveries an export gets when it ends, and what their conditions say at first."""

from backupexport_contract.deliveries import Deliveries, Delivery
from backupexport_contract.export_target import ExportTarget
from backupexport_contract.kubernetes_model import Condition
from backupexport_contract.reasons import DeliveryReason, Phase

from backupexport_operator.manifests.status import condition_now
from backupexport_operator.observed.observation import Observation

NOT_CONFIGURED = (
    "No {kind} delivery is set up here: ask the cluster's administrators for deliveries.{kind} in "
    "the chart or on the ExportTarget."
)
TARGET_IS_AWAY = (
    "The project's ExportTarget is gone, and with it what it says of deliveries.{kind}: create it "
    "again."
)


def settings_for(kind: str, target: ExportTarget | None, of_chart: Deliveries) -> Delivery | None:
    """The target's settings of `kind`, else the chart's; None where it is not to be made.

    A file goes nowhere without the target: that may have forbidden it, or named another receiver.
    """
    if awaits_target(kind, target):
        return None
    of_target = target.spec.deliveries if target is not None else None
    settings = (of_target.settings_of(kind) if of_target else None) or of_chart.settings_of(kind)
    return settings if settings is not None and settings.enabled else None


def awaits_target(kind: str, target: ExportTarget | None) -> bool:
    """Whether only the project's ExportTarget, which is not there, can say if it is to be made."""
    return target is None and Deliveries.kinds()[kind].reads_file


def first_conditions(seen: Observation, phase: Phase) -> list[Condition]:
    """One for each delivery that an export which has just ended in `phase` gets, or asked for."""
    told = []
    for kind, form in Deliveries.kinds().items():
        if not form.concerns(seen.export.spec, phase):
            continue
        if awaits_target(kind, seen.target) or settings_for(kind, seen.target, seen.deliveries):
            soon = "It is made as soon as possible."
            told.append(
                condition_now(seen, form.condition_type, "Unknown", DeliveryReason.PENDING, soon)
            )
        elif form.is_asked_for(seen.export.spec):
            never, message = DeliveryReason.NOT_CONFIGURED, NOT_CONFIGURED.format(kind=kind)
            told.append(condition_now(seen, form.condition_type, "False", never, message))
    return told
