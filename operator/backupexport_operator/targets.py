"""Which ExportTarget serves a project, and what its Ready condition says."""

from collections.abc import Iterable

from backupexport_contract.target_resource import ExportTarget


def serving_target(targets: Iterable[ExportTarget]) -> ExportTarget | None:
    """The oldest target of one project; the name decides between two of one second."""
    return min(targets, key=_age, default=None)


def readiness(target: ExportTarget, rivals: Iterable[ExportTarget]) -> tuple[bool, str, str]:
    """Whether `target` is ready, a reason and a message; `rivals` may include it itself."""
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


def _age(target: ExportTarget) -> tuple[str, str]:
    return target.metadata.creation_timestamp, target.metadata.name
