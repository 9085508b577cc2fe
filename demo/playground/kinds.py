"""Which kinds of objects the API server has, and where each of them is."""

from typing import Any, NamedTuple

# One document for all groups, where there would be one for each.
DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


class Kind(NamedTuple):
    """Where the objects of one kind are; `version` is "v1" or "group/version"."""

    version: str
    plural: str
    is_namespaced: bool

    def path(self, namespace: str | None, name: str | None = None) -> str:
        """The path of one object, or of all; of all namespaces where none is given."""
        parts = ["/api" if self.version == "v1" else "/apis", self.version]
        if self.is_namespaced and namespace is not None:
            parts += ["namespaces", namespace]
        return "/".join([*parts, self.plural, *([] if name is None else [name])])


def kinds_by_name(*discovered: dict[str, Any]) -> dict[str, Kind]:
    """Every name that kubectl knows a kind by, of /api and /apis asked for as DISCOVERY.

    They are the plural, the singular and the short ones, each with and without its group, and
    "group/version/Kind" as a manifest has it.
    """
    found: dict[str, Kind] = {}
    groups = [group for document in discovered for group in document["items"]]
    for group in groups:
        group_name = group["metadata"].get("name", "")
        # The version that the server prefers comes first.
        for version in group["versions"]:
            group_version = "/".join(filter(None, (group_name, version["version"])))
            for resource in version.get("resources", []):
                kind = Kind(group_version, resource["resource"], resource["scope"] == "Namespaced")
                in_manifests = f"{group_version}/{resource['responseKind']['kind']}"
                for name in {
                    resource["resource"],
                    resource.get("singularResource", ""),
                    *resource.get("shortNames", []),
                }:
                    found.setdefault(name, kind)
                    found.setdefault(f"{name}.{group_name}", kind)
                found.setdefault(in_manifests, kind)
    return found
