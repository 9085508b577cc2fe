"""Where finished files are: the storages that this api reads or signs for.

Whoever may write BackupExports may write any status: what it says of a file's place is compared
with what is configured, and leads nowhere by itself.
"""

from backupexport_api.downloads.bucket import ExportBucket
from backupexport_api.downloads.settings import DownloadSettings
from backupexport_api.downloads.volume import ExportVolume
from backupexport_api.jobs.finished_file import FinishedFile

Place = ExportVolume | ExportBucket


class Places:
    """The storages by what a file's status records of them."""

    def __init__(self, settings: DownloadSettings) -> None:
        directory = settings.exports_directory
        self._main = None if directory is None else ExportVolume(directory)
        self._main_claim = settings.exports_claim
        self._volumes: dict[str, ExportVolume] = {}
        self._buckets: dict[str, ExportBucket] = {}
        for name, storage in settings.storages.items():
            if storage.volume is None:
                credentials = settings.storages_directory / name
                self._buckets[name] = ExportBucket(storage, credentials)
            else:
                mount = settings.volumes_directory / name
                self._volumes[storage.volume.claim] = ExportVolume(mount)
        if self._main and self._main_claim:
            self._volumes[self._main_claim] = self._main

    @property
    def are_none(self) -> bool:
        """Whether there is no storage at all."""
        return not (self._main or self._volumes or self._buckets)

    def of(self, file: FinishedFile) -> Place | None:
        """Return the storage that has the file; None if it is none of these."""
        if file.url is not None:
            there = {name: it for name, it in self._buckets.items() if it.has(file)}
            return there.get(file.storage or "") or next(iter(there.values()), None)
        if file.claim is None or not self._main_claim:
            return self._volumes.get(file.claim or "", self._main)
        return self._volumes.get(file.claim)
