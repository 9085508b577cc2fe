"""Where files of exports are, and which of the chart's storages is there now."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from backupexport_contract.backup_export import BackupExport
from backupexport_contract.storages import DEFAULT_NAME, Storage, is_root_of_bucket


@dataclass(frozen=True, slots=True)
class Place:
    """A storage by its name, and by where it is.

    `root` is a volume's claim or a bucket's URL, `endpoint` its server's (None: the cloud's own).
    """

    storage: str
    root: str
    endpoint: str | None = None

    def __str__(self) -> str:
        return self.address

    @property
    def address(self) -> str:
        """Where it is, in words, whatever its name."""
        return f"{self.root} at {self.endpoint}" if self.endpoint else self.root

    @property
    def is_bucket(self) -> bool:
        """Whether it is spoken to, and not mounted."""
        return is_root_of_bucket(self.root)


def place_of(name: str, storages: Mapping[str, Storage]) -> Place | None:
    """Returns where the storage of this name is; None if there is none."""
    storage = storages.get(name)
    return Place(name, storage.root, storage.endpoint) if storage is not None else None


def storage_at(place: Place, storages: Mapping[str, Storage]) -> Storage | None:
    """Returns the storage that is there; None if there is none any more."""
    return storages[name] if (name := _name_at(place, storages)) else None


def is_reachable(place: Place, storages: Mapping[str, Storage]) -> bool:
    """Returns whether a Job can get at the files there.

    A claim can be mounted that no storage has any more (storage.formerClaims); of a bucket without
    a storage nobody knows the settings, and a volume that nobody recorded may have no name.
    """
    is_there = storage_at(place, storages) is not None
    return is_there if place.is_bucket else bool(place.root)


def accepted_place(export: BackupExport, storages: Mapping[str, Storage]) -> Place | None:
    """Returns where an export was to write when it was accepted; None if that is not recorded."""
    status = export.status
    if status.storage is None or status.storage_root is None:
        return None
    place = Place(status.storage, status.storage_root, status.storage_endpoint)
    return replace(place, storage=_name_at(place, storages) or place.storage)


def recorded_place(
    export: BackupExport, storages: Mapping[str, Storage], chart_claim: str
) -> Place:
    """Returns where the file of a finished export is, as its status has it.

    `chart_claim` is that of the chart's own volume, empty if it has none.
    """
    artifact = export.status.artifact
    name = (artifact.storage if artifact else None) or DEFAULT_NAME
    if artifact is not None and artifact.url:
        # Another export's URL, which none of ours has, is no storage's either.
        root = artifact.url.removesuffix(f"/{artifact.path}")
        place = Place(name, root, artifact.endpoint)
    elif artifact is not None and artifact.claim:
        place = Place(name, artifact.claim)
    else:
        # An operator wrote it that knew one claim alone, and no bucket.
        default = place_of(DEFAULT_NAME, storages)
        of_default = default.root if default and not default.is_bucket else ""
        place = Place(name, chart_claim or of_default)
    return replace(place, storage=_name_at(place, storages) or name)


def _name_at(place: Place, storages: Mapping[str, Storage]) -> str | None:
    there = [name for name, it in storages.items() if it.is_at(place.root, place.endpoint)]
    return place.storage if place.storage in there else next(iter(there), None)


def without_storage(place: Place | None, name: str | None = None) -> str:
    """Returns what to do about a storage that is none of the chart's any more, by place or name."""
    if place is not None and not place.root:
        return "nobody recorded its volume: make that the chart's again, with `storage.enabled`"
    what = f"is {place}" if place else f"has the name {name or DEFAULT_NAME}"
    return f"no storage of the chart {what}: put it back into `storages`"
