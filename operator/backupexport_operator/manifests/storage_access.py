"""What a runner's pod gets of a storage: a volume's directories, or a bucket's settings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from backupexport_contract import names, runner_protocol
from backupexport_contract.kubernetes_model import KubernetesModel
from backupexport_contract.storages import Storage, storage_text
from pydantic import ConfigDict

from backupexport_operator.manifests.parts import literals, secret_volume
from backupexport_operator.observed.places import Place, storage_at


class Spool(KubernetesModel):
    """Where an export in the format tar keeps each table for a while, if its file is in a bucket.

    A volume of `size`, made for the pod alone, or the node's own disk unless given.
    """

    model_config = ConfigDict(extra="forbid")

    size_limit: str = ""
    """The most that it may take of the node's disk, beyond which the pod is evicted."""
    size: str = ""
    """The size of a volume."""
    storage_class_name: str = ""
    """The volume's StorageClass; the cluster's default unless given."""


@dataclass(frozen=True, slots=True)
class StorageAccess:
    """Core/v1 EnvVars, VolumeMounts and Volumes of a pod, and annotations of its Job."""

    env: tuple[dict[str, Any], ...] = ()
    mounts: tuple[dict[str, Any], ...] = ()
    volumes: tuple[dict[str, Any], ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)


def storage_access(
    place: Place, storages: Mapping[str, Storage], directories: Mapping[str, str]
) -> StorageAccess:
    """Returns the access to a place; of a volume to these directories, by where they are mounted.

    Raises LookupError for a bucket of which no storage tells.
    """
    storage = storage_at(place, storages)
    annotations = {
        names.ANNOTATION_STORAGE: place.storage,
        names.ANNOTATION_STORAGE_ROOT: place.root,
        **({names.ANNOTATION_STORAGE_ENDPOINT: place.endpoint} if place.endpoint else {}),
    }
    env = literals(_told(place.storage, storage)) if storage is not None else []
    if not place.is_bucket:
        mounts = [_exports_mount(path, below) for path, below in directories.items()]
        return StorageAccess(tuple(env), tuple(mounts), (claim_volume(place.root),), annotations)
    if storage is None:
        raise LookupError(f"no storage is {place}")
    secret = storage.secret_ref
    if secret is None:
        return StorageAccess(tuple(env), annotations=annotations)
    mount = {
        "name": names.STORAGE_VOLUME,
        "mountPath": runner_protocol.STORAGE_MOUNT,
        "readOnly": True,
    }
    volume = secret_volume(secret.name, storage.secret_keys, volume=names.STORAGE_VOLUME)
    return StorageAccess(tuple(env), (mount,), (volume,), annotations)


def spool_access(place: Place, spool: Spool, project_id: str) -> StorageAccess:
    """Returns the room for a tar export's tables: on the volume of its file, else one of its own.

    The node's temporary directory is where pg_dump puts them.
    """
    if not place.is_bucket:
        below = f"{project_id}/{runner_protocol.SPOOL_DIRECTORY}"
        return StorageAccess(mounts=(_exports_mount(runner_protocol.SPOOL_MOUNT, below),))
    mount = {"name": names.SPOOL_VOLUME, "mountPath": runner_protocol.SPOOL_MOUNT}
    return StorageAccess(mounts=(mount,), volumes=({"name": names.SPOOL_VOLUME, **_room(spool)},))


def claim_volume(claim: str) -> dict[str, Any]:
    """Returns a core/v1 Volume with the exports on this PersistentVolumeClaim."""
    return {"name": names.EXPORTS_VOLUME, "persistentVolumeClaim": {"claimName": claim}}


def _told(name: str, storage: Storage) -> dict[str, str]:
    return runner_protocol.in_pieces(runner_protocol.ENV_STORAGE, storage_text(name, storage))


def _exports_mount(path: str, below: str) -> dict[str, Any]:
    return {"name": names.EXPORTS_VOLUME, "mountPath": path, "subPath": below}


def _room(spool: Spool) -> dict[str, Any]:
    if not spool.size:
        return {"emptyDir": {"sizeLimit": spool.size_limit} if spool.size_limit else {}}
    class_name = spool.storage_class_name
    claim = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": spool.size}},
        **({"storageClassName": class_name} if class_name else {}),
    }
    return {"ephemeral": {"volumeClaimTemplate": {"spec": claim}}}
