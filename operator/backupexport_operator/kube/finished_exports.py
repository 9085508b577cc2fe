"""The finished BackupExports that still await something, in a watch of their own.

kopf watches the unfinished exports.  Those that have ended are watched apart, and only while they
await something, so that an export which is kept for good costs nothing.
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from backupexport_contract.backup_export import BackupExport

from backupexport_operator.kube.client import SERVER_AWAY, brief
from backupexport_operator.kube.cluster import Cluster
from backupexport_operator.kube.event_recorder import EventRecorder
from backupexport_operator.kube.work_queue import WorkQueue
from backupexport_operator.observed.export_cache import ExportCache
from backupexport_operator.telemetry.metrics import OperatorMetrics

_logger = logging.getLogger(__name__)

_PARALLEL = 4
_PAUSE_SECONDS = 5.0


@dataclass
class FinishedExportReconciler(ABC):
    """Works on the exports that the field selector `awaiting` finds.

    It works on an export when that comes or changes, and when it is asked for.
    """

    cache: ExportCache
    cluster: Cluster
    recorder: EventRecorder
    metrics: OperatorMetrics
    awaiting: ClassVar[str]
    _exports: dict[str, BackupExport] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.queue = WorkQueue(self._run, _PARALLEL, self.metrics.reconciled)

    @abstractmethod
    async def reconcile(self, export: BackupExport) -> None:
        """Take the next step for the export; what it raises is tried again."""

    @abstractmethod
    def forget(self, uid: str) -> None:
        """Drop what is kept of an export that awaits nothing any more, or is gone."""

    def ask(self, uid: str) -> None:
        """Work on the export if it is one of these: a Job or Pod of it has changed."""
        if uid in self._exports:
            self.queue.ask(uid)

    def all(self) -> Iterable[BackupExport]:
        """Returns all of these exports as they were seen last."""
        return list(self._exports.values())

    def note_written(self, export: BackupExport) -> None:
        """Take `export`, which this process has just written, before the watch brings it."""
        uid = export.metadata.uid
        if uid in self._exports:
            self._exports[uid] = export

    async def watch_for_ever(self) -> None:
        """Follow the exports, and work on them, until cancelled."""
        while True:
            try:
                await self._watch()
            except SERVER_AWAY as error:
                _logger.warning("the watch of %s ended: %s", self.awaiting, brief(error))
            except Exception:
                # A line too long for the client, say: no reason to stop watching.
                _logger.exception("the watch of %s ended", self.awaiting)
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _run(self, uid: str) -> None:
        export = self._exports.get(uid)
        if export is None:
            self.forget(uid)
        else:
            await self.reconcile(export)

    async def _watch(self) -> None:
        exports, version = await self.cluster.list_finished(self.awaiting)
        before = self._exports.keys()
        self._exports = {export.metadata.uid: export for export in exports}
        for uid in before - self._exports.keys():
            self.forget(uid)
        for uid in self._exports:
            self.queue.ask(uid)
        while True:
            async for kind, export in self.cluster.watch_finished(self.awaiting, version):
                uid, version = export.metadata.uid, export.metadata.resource_version
                if kind == "DELETED":
                    self._exports.pop(uid, None)
                    self.forget(uid)
                else:
                    self._exports[uid] = export
                    self.queue.ask(uid)
            # The server ends it every few minutes; one that ends it at once must not be hurried.
            await asyncio.sleep(1)
