"""The finished BackupExports that still await something, in a watch of their own.

They are watched apart from the unfinished ones, and only those that await something: what has
ended and is kept for good costs nothing.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable

from backupexport_contract.backup_export import BackupExport

from backupexport_operator.kube.client import SERVER_AWAY, brief
from backupexport_operator.kube.reader import ClusterReader

_logger = logging.getLogger(__name__)

_PAUSE_SECONDS = 5.0


class FinishedExports:
    """Those that the field selector `awaiting` finds.

    `came` gets the uid of each that is there, comes or changes, `went` of each that awaits
    nothing any more or is gone.
    """

    def __init__(
        self,
        reader: ClusterReader,
        awaiting: str,
        came: Callable[[str], None],
        went: Callable[[str], None],
    ) -> None:
        self._reader = reader
        self._awaiting = awaiting
        self._came = came
        self._went = went
        self._exports: dict[str, BackupExport] = {}

    def get(self, uid: str) -> BackupExport | None:
        """The export as it was seen last."""
        return self._exports.get(uid)

    def all(self) -> Iterable[BackupExport]:
        """All of them."""
        return list(self._exports.values())

    def note_written(self, export: BackupExport) -> None:
        """This process has written the export; the watch will tell, a little later."""
        uid = export.metadata.uid
        if uid in self._exports:
            self._exports[uid] = export

    async def watch_for_ever(self) -> None:
        """Follow them until cancelled."""
        while True:
            try:
                await self._watch()
            except SERVER_AWAY as error:
                _logger.warning("the watch of %s ended: %s", self._awaiting, brief(error))
                await asyncio.sleep(_PAUSE_SECONDS)
            except Exception:
                # A line too long for the client, say: no reason to stop watching.
                _logger.exception("the watch of %s ended", self._awaiting)
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _watch(self) -> None:
        exports, version = await self._reader.list_finished(self._awaiting)
        before = self._exports.keys()
        self._exports = {export.metadata.uid: export for export in exports}
        for uid in before - self._exports.keys():
            self._went(uid)
        for uid in self._exports:
            self._came(uid)
        while True:
            async for kind, export in self._reader.watch_finished(self._awaiting, version):
                uid, version = export.metadata.uid, export.metadata.resource_version
                if kind == "DELETED":
                    self._exports.pop(uid, None)
                    self._went(uid)
                else:
                    self._exports[uid] = export
                    self._came(uid)
            # It ends every few minutes; where it ends at once, not in a hot loop.
            await asyncio.sleep(1)
