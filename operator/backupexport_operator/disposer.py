"""Carries out what is left to do for BackupExports that have ended, see `disposal`.

They are watched apart from the unfinished ones, and only those that await something: what has
ended and is kept for good costs nothing.
"""

import asyncio
import logging

from backupexport_contract import timestamps
from backupexport_contract.resources import BackupExport
from backupexport_contract.runner_protocol import TASK_REMOVE

from backupexport_operator.cleaner import Cleaner, CleanupRefusedError
from backupexport_operator.cluster_reader import ClusterReader
from backupexport_operator.cluster_writer import ClusterWriter
from backupexport_operator.disposal import RemovalStep, dispose
from backupexport_operator.event_poster import EventPoster
from backupexport_operator.keyed_tasks import KeyedTasks
from backupexport_operator.kubernetes_client import SERVER_AWAY, brief
from backupexport_operator.observation import Cleanup
from backupexport_operator.sightings import Sightings
from backupexport_operator.transition import EventFact

_logger = logging.getLogger(__name__)

_PARALLEL = 4
# A thousand exports that expire together, or are deleted together, take their time.
_MOST_REMOVALS = 10
_PAUSE_SECONDS = 5.0
# A timer that waits for years is no good; it asks again when it has waited this long.
_LONGEST_DELAY_SECONDS = 24 * 3600.0


class Disposer:
    """Watches finished exports that await disposal, and disposes of them."""

    def __init__(
        self,
        sightings: Sightings,
        reader: ClusterReader,
        writer: ClusterWriter,
        cleaner: Cleaner,
        poster: EventPoster,
    ) -> None:
        self._sightings = sightings
        self._reader = reader
        self._writer = writer
        self._cleaner = cleaner
        self._poster = poster
        self._exports: dict[str, BackupExport] = {}
        # Whose removal this process has begun, and who waits for one of these to end.
        self._removing: set[str] = set()
        self._in_line: dict[str, None] = {}
        self._work: KeyedTasks[str] = KeyedTasks(
            self._dispose, _PARALLEL, (*SERVER_AWAY, CleanupRefusedError), brief
        )

    def ask(self, uid: str) -> None:
        """A Job or Pod of the export changed."""
        if uid in self._exports:
            self._work.ask(uid)

    async def watch_for_ever(self) -> None:
        """Follow the finished exports until cancelled."""
        while True:
            try:
                await self._watch()
            except SERVER_AWAY as error:
                _logger.warning("the watch of finished exports ended: %s", brief(error))
                await asyncio.sleep(_PAUSE_SECONDS)
            except Exception:
                # A line too long for the client, say: no reason to stop watching.
                _logger.exception("the watch of finished exports ended")
                await asyncio.sleep(_PAUSE_SECONDS)

    async def stop(self) -> None:
        """Stop working; what was under way is picked up by the next process."""
        await self._work.stop()

    async def _watch(self) -> None:
        exports, version = await self._reader.list_finished()
        self._exports = {export.metadata.uid: export for export in exports}
        for uid in self._removing - self._exports.keys():
            self._removal_is_over(uid)
        for uid in self._exports:
            self._work.ask(uid)
        while True:
            async for kind, export in self._reader.watch_finished(version):
                uid, version = export.metadata.uid, export.metadata.resource_version
                if kind == "DELETED":
                    self._exports.pop(uid, None)
                    self._removal_is_over(uid)
                else:
                    self._exports[uid] = export
                    self._work.ask(uid)
            # It ends every few minutes; where it ends at once, not in a hot loop.
            await asyncio.sleep(1)

    async def _take(self, step: RemovalStep, export: BackupExport, removal: Cleanup) -> bool:
        """Whether nothing will ever remove the file, because the whole namespace goes."""
        if step is RemovalStep.DELETE:
            await self._cleaner.delete(removal)
        if step is not RemovalStep.CREATE:
            return False
        uid = export.metadata.uid
        if uid not in self._removing and len(self._removing) >= _MOST_REMOVALS:
            self._in_line[uid] = None
            return False
        self._removing.add(uid)
        try:
            await self._cleaner.create(export, TASK_REMOVE)
        except CleanupRefusedError as refusal:
            if refusal.namespace_is_ending:
                return True
            raise
        return False

    def _removal_is_over(self, uid: str) -> None:
        """Done, failed for now, or no longer needed: the next in line may begin."""
        self._in_line.pop(uid, None)
        if uid not in self._removing:
            return
        self._removing.remove(uid)
        if self._in_line:
            following = next(iter(self._in_line))
            del self._in_line[following]
            self._work.ask(following)

    async def _dispose(self, uid: str) -> None:
        export = self._exports.get(uid)
        if export is None:
            return
        removal = self._sightings.observe(export).removal
        plan = dispose(export, removal, timestamps.now())
        if plan.trouble or plan.step not in (RemovalStep.CREATE, RemovalStep.WAIT):
            self._removal_is_over(uid)
        if plan.trouble:
            message = f"The file can't be removed yet: {plan.trouble}"
            self._poster.post(export, EventFact("Warning", "RemovalFailed", message))
        if plan.remove_finalizer or await self._take(plan.step, export, removal):
            await self._cleaner.release(export)
        if plan.delete_export:
            _logger.info("export %s: kept long enough, removed", export.job_id)
            await self._writer.delete_export(export)
        if plan.recheck_after is not None:
            delay = min(plan.recheck_after.total_seconds(), _LONGEST_DELAY_SECONDS)
            self._work.ask(uid, delay=delay)
