"""Whether exports can be encrypted to the recipients that a target or an export names."""

from collections.abc import Sequence

from backupexport_contract.backup_export import BackupExport
from backupexport_contract.export_target import ExportTarget
from backupexport_runtime.recipients import is_usable


def target_problem(target: ExportTarget) -> str | None:
    """Returns which of the target's recipients is none; None if all of them are."""
    encryption = target.spec.encryption
    named = (encryption.recipients if encryption else None) or ()
    return _problem(named, f"encryption.recipients of ExportTarget {target.metadata.name}")


def export_problem(export: BackupExport) -> str | None:
    """Returns which of the export's own recipients is none; None if all of them are."""
    return _problem(export.spec.encrypt_to or (), "encryptTo")


def lacks_recipient(export: BackupExport, target: ExportTarget) -> bool:
    """Returns whether the target wants a recipient, and neither names one."""
    encryption = target.spec.encryption
    is_required = encryption is not None and encryption.required
    return is_required and not ((encryption and encryption.recipients) or export.spec.encrypt_to)


def _problem(recipients: Sequence[str], where: str) -> str | None:
    for number, recipient in enumerate(recipients, 1):
        if not is_usable(recipient):
            return (
                f"Nothing can be encrypted to recipient {number} of {where}: it is cut, mistyped, "
                "or a key that age refuses, such as RSA of less than 2048 or more than 4096 bits."
            )
    return None
