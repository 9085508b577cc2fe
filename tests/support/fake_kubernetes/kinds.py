"""What the server serves: our kinds as their CRDs say, and what of Kubernetes' own ours use."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

_CRDS = Path(__file__).resolve().parents[3] / "crds"
_EVERY_VERB = ("create", "delete", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True)
class Kind:
    """A resource; a field selector may name `fields`, beside metadata.name and .namespace."""

    group: str
    version: str
    plural: str
    name: str
    fields: frozenset[str] = frozenset()
    has_status: bool = False
    is_namespaced: bool = True
    is_custom: bool = False
    # Whether an update may leave out metadata.resourceVersion, and may make what isn't there.
    may_update_blindly: bool = False
    may_create_by_update: bool = False
    # What becomes of dependents where a delete says nothing.
    propagation: str = "Background"
    subresources: tuple[str, ...] = ()
    verbs: tuple[str, ...] = _EVERY_VERB

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def selectable(self, field: str) -> bool:
        return field in self.fields or field in ("metadata.name", "metadata.namespace")


@cache
def kinds() -> dict[str, Kind]:
    """Under their plurals."""
    pods = frozenset({"spec.nodeName", "spec.restartPolicy", "status.phase", "status.podIP"})
    events = frozenset(
        {"regarding.kind", "regarding.name", "regarding.uid", "reason", "type"}
        | {"reportingController"}
    )
    found = [
        Kind("", "v1", "namespaces", "Namespace", is_namespaced=False, verbs=("get", "list")),
        Kind(
            "", "v1", "pods", "Pod", pods,
            has_status=True, may_update_blindly=True, subresources=("status", "log"),
        ),
        Kind(
            "batch", "v1", "jobs", "Job", frozenset({"status.successful"}),
            has_status=True, may_update_blindly=True, subresources=("status",),
            propagation="Orphan",
        ),
        Kind("events.k8s.io", "v1", "events", "Event", events, may_update_blindly=True),
        Kind("coordination.k8s.io", "v1", "leases", "Lease", may_create_by_update=True),
        *(_custom(file) for file in sorted(_CRDS.glob("*.yaml"))),
    ]  # fmt: skip
    return {kind.plural: kind for kind in found}


def _custom(file: Path) -> Kind:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    spec = yaml.load(file.read_text(), loader)["spec"]
    (version,) = spec["versions"]
    fields = {field["jsonPath"].removeprefix(".") for field in version["selectableFields"]}
    return Kind(
        spec["group"],
        version["name"],
        spec["names"]["plural"],
        spec["names"]["kind"],
        frozenset(fields),
        has_status="status" in version["subresources"],
        is_custom=True,
        subresources=tuple(version["subresources"]),
    )
