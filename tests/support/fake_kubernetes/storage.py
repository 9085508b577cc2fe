"""Objects, their versions and their changes: what etcd and the registry are to the API server."""

import copy
import itertools
import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from fake_kubernetes import refusals
from fake_kubernetes.kinds import Kind, kinds
from fake_kubernetes.refusals import Manifest
from fake_kubernetes.selectors import Match

_TOKEN_EXPIRED = (
    "The provided continue parameter is too old to display a consistent list result. You can start "
    "a new list without the continue parameter."
)


@dataclass(frozen=True)
class Change:
    """An object's change; `old` is None where it came, `new` where it went."""

    version: int
    kind: Kind
    namespace: str
    old: Manifest | None
    new: Manifest | None

    def event(self, fits: Match) -> tuple[str, Manifest] | None:
        """What a watch with this selector tells of it, or None."""
        fitted = self.old is not None and fits(self.old)
        if self.new is not None and fits(self.new):
            return ("MODIFIED" if fitted else "ADDED"), self.new
        if self.old is None or not fitted:
            return None
        # As it was while it fitted, at the version at which it did no more.
        metadata = self.old["metadata"] | {"resourceVersion": str(self.version)}
        return "DELETED", {**self.old, "metadata": metadata}


class Storage:
    """Stored objects are never changed in place; `on_change` hears of each change."""

    def __init__(self, on_change: Callable[[Change], None]) -> None:
        self.version = 100
        self.collects_garbage = True
        self._on_change = on_change
        # Under plural, and there under namespace and name.
        self._objects: dict[str, dict[tuple[str, str], Manifest]] = {it: {} for it in kinds()}
        self._uids: set[str] = set()
        # The uids of each object's owners, where it has any.
        self._owners: dict[tuple[Kind, str, str], set[str]] = {}
        self._changes: list[Change] = []
        self._oldest = self.version
        self._rest_of_lists: dict[str, list[Manifest]] = {}
        self._tokens = itertools.count(1)

    def get(self, kind: Kind, namespace: str, name: str) -> Manifest:
        try:
            return self._objects[kind.plural][namespace, name]
        except KeyError:
            raise refusals.not_found(kind, name) from None

    def all(self, kind: Kind, namespace: str = "") -> list[Manifest]:
        """By namespace and name; of all namespaces where none is named."""
        found = sorted(self._objects[kind.plural].items())
        return [manifest for (of, _), manifest in found if namespace in ("", of)]

    def page(
        self, kind: Kind, namespace: str, fits: Match, limit: int, token: str
    ) -> tuple[list[Manifest], str, str]:
        """Objects, the list's resourceVersion, and a token for what is left of it, or none."""
        version = token.partition(":")[0] or str(self.version)
        if not token:
            items = list(filter(fits, self.all(kind, namespace)))
        elif token in self._rest_of_lists:
            items = self._rest_of_lists[token]
        else:
            raise refusals.expired(_TOKEN_EXPIRED)
        if not limit or len(items) <= limit:
            return items, version, ""
        following = f"{version}:{next(self._tokens)}"
        self._rest_of_lists[following] = items[limit:]
        return items[:limit], version, following

    def changes_since(self, kind: Kind, namespace: str, version: int) -> list[Change]:
        if version < self._oldest:
            raise refusals.expired(f"too old resource version: {version} ({self._oldest})")
        return [
            change
            for change in self._changes
            if change.kind is kind
            and change.version > version
            and namespace in ("", change.namespace)
        ]

    def compact(self) -> None:
        """Forget what happened until now: older versions and unfinished lists are gone (410)."""
        self._changes.clear()
        self._rest_of_lists.clear()
        self._oldest = self.version

    def create(self, kind: Kind, namespace: str, manifest: Manifest) -> Manifest:
        wanted = copy.deepcopy(manifest)
        metadata = wanted.setdefault("metadata", {})
        if not metadata.get("name") and "generateName" in metadata:
            metadata["name"] = metadata["generateName"] + secrets.token_hex(3)[:5]
        name = metadata.get("name")
        if not name:
            raise refusals.invalid(kind, "", "metadata.name", "Required value: name is required")
        if metadata.get("namespace", namespace) != namespace:
            raise refusals.bad_request("the namespace of the object does not match the request's")
        if metadata.get("resourceVersion"):
            why = "resourceVersion should not be set on objects to be created"
            raise refusals.RefusedError(500, "", why)
        self._expect_living_namespace(kind, namespace, name)
        if (namespace, name) in self._objects[kind.plural]:
            raise refusals.already_exists(kind, name)
        for key in ("uid", "creationTimestamp", "deletionTimestamp", "generation"):
            metadata.pop(key, None)
        if kind.has_status:
            wanted.pop("status", None)
        if kind.plural == "pods":
            wanted["status"] = {"phase": "Pending"}
        return self._complete(kind, namespace, wanted)

    def seed(self, kind: Kind, namespace: str, manifest: Manifest) -> Manifest:
        """Store as it is, its status, uid and times too; what it lacks is added."""
        if (namespace, manifest["metadata"]["name"]) in self._objects[kind.plural]:
            raise refusals.already_exists(kind, manifest["metadata"]["name"])
        return self._complete(kind, namespace, copy.deepcopy(manifest))

    def update(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        change: Callable[[Manifest], Manifest],
        *,
        subresource: str = "",
    ) -> Manifest:
        """`change` gets a copy of the object and returns what it should be."""
        old = self.get(kind, namespace, name)
        wanted = change(copy.deepcopy(old))
        version = wanted["metadata"].get("resourceVersion")
        if not version and not kind.may_update_blindly:
            why = "Invalid value: 0: must be specified for an update"
            raise refusals.invalid(kind, name, "metadata.resourceVersion", why)
        if version and version != old["metadata"]["resourceVersion"]:
            raise refusals.conflict(kind, name)
        new = (
            {**old, "status": wanted.get("status", {})}
            if subresource == "status"
            else _updated(kind, old, wanted)
        )
        if new == old:
            return new
        metadata = new["metadata"]
        is_held = metadata.get("finalizers") or metadata.get("deletionGracePeriodSeconds")
        if "deletionTimestamp" in metadata and not is_held:
            return self.remove(kind, namespace, name)
        return self._store(kind, namespace, name, new)

    def replace(
        self, kind: Kind, namespace: str, name: str, manifest: Manifest, subresource: str
    ) -> Manifest:
        """What a PUT does, for which a uid in the body is a precondition."""
        old = self._objects[kind.plural].get((namespace, name))
        if old is None and not kind.may_create_by_update:
            raise refusals.not_found(kind, name)
        wanted, found = manifest["metadata"].get("uid"), old["metadata"]["uid"] if old else ""
        if wanted and wanted != found:
            why = f"Precondition failed: UID in precondition: {wanted}, UID in object meta: {found}"
            raise refusals.conflict(kind, name, why)
        if old is None:
            metadata = manifest["metadata"] | {"resourceVersion": None}
            return self.create(kind, namespace, {**manifest, "metadata": metadata})
        return self.update(kind, namespace, name, lambda _: manifest, subresource=subresource)

    def delete(self, kind: Kind, namespace: str, name: str, options: Manifest) -> Manifest | None:
        """What is still there of the object, or None."""
        old = self.get(kind, namespace, name)
        _expect(kind, old, options.get("preconditions") or {})
        propagation = options.get("propagationPolicy") or kind.propagation
        if propagation not in ("Background", "Orphan"):
            raise refusals.bad_request(f"propagationPolicy {propagation} is not played here")
        metadata = old["metadata"]
        if propagation == "Orphan":
            self._orphan(metadata["uid"])
        grace = _grace_seconds(kind, old, options)
        if not metadata.get("finalizers") and not grace:
            self.remove(kind, namespace, name)
            return None
        if "deletionTimestamp" in metadata:
            return old
        times = {"deletionTimestamp": now(), "deletionGracePeriodSeconds": grace}
        return self._store(kind, namespace, name, {**old, "metadata": metadata | times})

    def remove(self, kind: Kind, namespace: str, name: str) -> Manifest:
        """Take the object away at once, as the kubelet does with a pod that has ended."""
        old = self.get(kind, namespace, name)
        self.version += 1
        del self._objects[kind.plural][namespace, name]
        self._uids.discard(old["metadata"]["uid"])
        self._owners.pop((kind, namespace, name), None)
        self._note(Change(self.version, kind, namespace, old, None))
        self._collect_garbage()
        return old

    def _collect_garbage(self) -> None:
        """Delete what has owners of which none is left."""
        if not self.collects_garbage:
            return
        for (kind, namespace, name), owners in list(self._owners.items()):
            metadata = self._objects[kind.plural].get((namespace, name), {}).get("metadata", {})
            is_left = owners.isdisjoint(self._uids) and "deletionTimestamp" not in metadata
            if metadata and is_left:
                self.delete(kind, namespace, name, {"propagationPolicy": "Background"})

    def _orphan(self, uid: str) -> None:
        for (kind, namespace, name), owners in list(self._owners.items()):
            if uid in owners:
                manifest = self.get(kind, namespace, name)
                metadata = manifest["metadata"]
                others = [it for it in metadata["ownerReferences"] if it["uid"] != uid]
                metadata = metadata | {"ownerReferences": others}
                self._store(kind, namespace, name, {**manifest, "metadata": metadata})

    def _complete(self, kind: Kind, namespace: str, manifest: Manifest) -> Manifest:
        metadata = manifest["metadata"]
        if kind.is_namespaced:
            metadata["namespace"] = namespace
        metadata.setdefault("uid", str(uuid.uuid4()))
        metadata.setdefault("creationTimestamp", now())
        if "spec" in manifest and kind.plural != "leases":
            metadata.setdefault("generation", 1)
        manifest = {"apiVersion": kind.api_version, "kind": kind.name} | manifest
        return self._store(kind, namespace, metadata["name"], manifest)

    def _store(self, kind: Kind, namespace: str, name: str, manifest: Manifest) -> Manifest:
        self.version += 1
        metadata = manifest["metadata"] | {"resourceVersion": str(self.version)}
        new = {**manifest, "metadata": metadata}
        old = self._objects[kind.plural].get((namespace, name))
        self._objects[kind.plural][namespace, name] = new
        self._uids.add(metadata["uid"])
        if owners := metadata.get("ownerReferences"):
            self._owners[kind, namespace, name] = {owner["uid"] for owner in owners}
        else:
            self._owners.pop((kind, namespace, name), None)
        self._note(Change(self.version, kind, namespace, old, new))
        if old is None and "ownerReferences" in metadata:
            self._collect_garbage()
        return new

    def _note(self, change: Change) -> None:
        self._changes.append(change)
        self._on_change(change)

    def _expect_living_namespace(self, kind: Kind, namespace: str, name: str) -> None:
        if not kind.is_namespaced:
            return
        found = self.get(kinds()["namespaces"], "", namespace)
        if "deletionTimestamp" in found["metadata"]:
            raise refusals.namespace_is_ending(kind, name, namespace)


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _expect(kind: Kind, manifest: Manifest, preconditions: Manifest) -> None:
    """Refuse where the object is another, or another version, than the caller means."""
    for field, what, fate in (
        ("uid", "UID", "deleted and then recreated"),
        ("resourceVersion", "ResourceVersion", "modified"),
    ):
        wanted, found = preconditions.get(field), manifest["metadata"][field]
        if wanted is not None and wanted != found:
            why = (
                f"the {what} in the precondition ({wanted}) does not match the {what} in record "
                f"({found}). The object might have been {fate}"
            )
            raise refusals.conflict(kind, manifest["metadata"]["name"], why)


def _updated(kind: Kind, old: Manifest, wanted: Manifest) -> Manifest:
    """What is stored of `wanted`: the server's own fields stay, and so does a status apart."""
    was, name = old["metadata"], old["metadata"]["name"]
    # An empty list or map is none.
    metadata = {key: value for key, value in wanted["metadata"].items() if value}
    if metadata.get("name") != name:
        raise refusals.bad_request("the name of the object does not match the name on the URL")
    if (uid := metadata.get("uid") or was["uid"]) != was["uid"]:
        why = f'Invalid value: "{uid}": field is immutable'
        raise refusals.invalid(kind, name, "metadata.uid", why)
    added = set(metadata.get("finalizers") or ()) - set(was.get("finalizers") or ())
    if added and "deletionTimestamp" in was:
        why = "Forbidden: no new finalizers can be added if the object is being deleted"
        raise refusals.invalid(kind, name, "metadata.finalizers", why, "FieldValueForbidden")
    for field in ("creationTimestamp", "deletionTimestamp", "generation", "namespace", "uid"):
        metadata.pop(field, None)
        if field in was:
            metadata[field] = was[field]
    metadata["resourceVersion"] = was["resourceVersion"]
    new = {"apiVersion": old["apiVersion"], "kind": old["kind"], **wanted, "metadata": metadata}
    if kind.has_status:
        new.pop("status", None)
        new |= {"status": old["status"]} if "status" in old else {}
    if "generation" in was and new.get("spec") != old.get("spec"):
        metadata["generation"] = was["generation"] + 1
    return new


def _grace_seconds(kind: Kind, manifest: Manifest, options: Manifest) -> int:
    """How long a pod may take for its end: none that is on no node or has ended already."""
    spec, phase = manifest.get("spec") or {}, (manifest.get("status") or {}).get("phase")
    if kind.plural != "pods" or not spec.get("nodeName") or phase in ("Failed", "Succeeded"):
        return 0
    asked = options.get("gracePeriodSeconds")
    return int(spec.get("terminationGracePeriodSeconds", 30) if asked is None else asked)
