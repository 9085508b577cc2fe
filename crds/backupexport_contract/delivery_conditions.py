"""What a BackupExport's conditions tell of its deliveries."""

from backupexport_contract.delivery_settings import Deliveries
from backupexport_contract.kubernetes_model import Condition
from backupexport_contract.resources import BackupExportStatus


def conditions_by_kind(status: BackupExportStatus) -> dict[str, Condition]:
    """The conditions of the export's deliveries, under the kinds."""
    told = {condition.type: condition for condition in status.conditions}
    return {
        kind: told[form.condition_type]
        for kind, form in Deliveries.kinds().items()
        if form.condition_type in told
    }


def is_pending(condition: Condition) -> bool:
    """Whether the delivery that the condition tells of is still to be made."""
    return condition.status == "Unknown"
