"""Which ExportTargets name a Secret of the installation's own, which no export may get."""

from collections.abc import Collection, Iterator
from typing import Any

from backupexport_contract.export_target import ExportTarget

# Of every release of the namespace, with all the values and manifests that it was installed from
# (https://helm.sh/docs/topics/advanced/#storage-backends).
_HELMS = "sh.helm.release.v1."


def own_secret_problem(target: ExportTarget | None, own: Collection[str]) -> str | None:
    """Returns a sentence if the target names one of `own`, wherever it does; else None."""
    if target is None:
        return None
    names = _secrets_of(target.spec.to_manifest())
    named = next((name for name in names if name in own or name.startswith(_HELMS)), None)
    if named is None:
        return None
    return (
        f"ExportTarget {target.metadata.name} names Secret {named}, which is of the "
        "installation's own and not for exports: name another one."
    )


def _secrets_of(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for field, value in node.items():
            if field == "secretRef":
                yield value["name"]
            else:
                yield from _secrets_of(value)
