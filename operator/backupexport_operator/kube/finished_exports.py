"""The finished BackupExports that still await something, in a watch of their own.

kopf watches the unfinished exports.  Those that have ended are watched apart, and only while they
await something, so that an export which is kept for good costs nothing.
"""

import asyncio
import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

from backupexport_contract import timestamps
from backupexport_contract.backup_export import BackupExport

from backupexport_operator.kube.client import SERVER_AWAY, brief, is_unanswered, retry_after
from backupexport_operator.kube.cluster import Cluster
from backupexport_operator.kube.event_recorder import EventRecorder
from backupexport_operator.kube.held_exports import PackedExports, WholeExports
from backupexport_operator.kube.work_queue import WorkQueue
from backupexport_operator.observed.export_cache import ExportCache
from backupexport_operator.telemetry.metrics import OperatorMetrics

_logger = logging.getLogger(__name__)

_PARALLEL = 4
_PAUSE_SECONDS = 5.0
_SHORT_PAUSE_SECONDS = 1.0


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
    # Whether there is nothing to do for one before it expires or is deleted.  There may be very
    # many of these, so they are held packed.
    rest_until_they_expire: ClassVar[bool] = False
    _exports: PackedExports | WholeExports = field(init=False)
    # The watch goes on from here; empty where it has to begin with a list.
    _version: str = field(default="", init=False)

    def __post_init__(self) -> None:
        self._exports = PackedExports() if self.rest_until_they_expire else WholeExports()
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
            # The server ends it every few minutes; one that ends it at once must not be hurried.
            pause = _SHORT_PAUSE_SECONDS
            try:
                if not self._version:
                    await self._list()
                await self._watch()
            except SERVER_AWAY as error:
                _logger.warning("the watch of %s ended: %s", self.awaiting, brief(error))
                pause = max(_PAUSE_SECONDS, retry_after(error))
                if not (is_unanswered(error) or retry_after(error)):
                    self._version = ""
            except Exception:
                # A line too long for the client, say: no reason to stop watching.
                _logger.exception("the watch of %s ended", self.awaiting)
                pause, self._version = _PAUSE_SECONDS, ""
            await asyncio.sleep(pause)

    async def _run(self, uid: str) -> None:
        export = self._exports.get(uid)
        if export is None:
            self.forget(uid)
        else:
            await self.reconcile(export)

    async def _list(self) -> None:
        before, version = set(self._exports), ""
        due: list[str] = []
        async for page in self.cluster.list_finished(self.awaiting):
            for body in page["items"]:
                before.discard(body["metadata"]["uid"])
                if self._hold(body):
                    due.append(body["metadata"]["uid"])
                # A page of them takes a while, in which others have their turn.
                await asyncio.sleep(0)
            version = page["metadata"]["resourceVersion"]
        for uid in before:
            self._lost(uid)
        # All are known by now: what is done for many at once is done once.
        for uid in due:
            self.queue.ask(uid)
        self._version = version

    async def _watch(self) -> None:
        async for kind, body in self.cluster.watch_finished(self.awaiting, self._version):
            self._version = body["metadata"]["resourceVersion"]
            if kind == "DELETED":
                self._lost(body["metadata"]["uid"])
            elif kind != "BOOKMARK" and self._hold(body):
                self.queue.ask(body["metadata"]["uid"])

    def _hold(self, body: dict[str, Any]) -> bool:
        """Hold the export, and ask for it once its rest is over.  Returns whether it has none."""
        uid, rest = body["metadata"]["uid"], 0.0
        is_new = self._exports.hold(body)
        if self.rest_until_they_expire:
            rest = seconds_to_rest(body, timestamps.now())
        if is_new and 0 < rest < math.inf:
            self.queue.ask(uid, delay=rest)
        return rest <= 0

    def _lost(self, uid: str) -> None:
        self._exports.pop(uid, None)
        self.forget(uid)


def seconds_to_rest(body: dict[str, Any], now: datetime) -> float:
    """Returns how long there is nothing to clean up of a finished BackupExport; inf for ever."""
    if "deletionTimestamp" in body["metadata"]:
        return 0.0
    expires = body.get("status", {}).get("expirationTime")
    try:
        return (timestamps.from_text(expires) - now).total_seconds() if expires else math.inf
    except ValueError:
        # Of this export alone its reconcile may complain.
        return 0.0
