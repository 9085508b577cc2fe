"""Keeps the start queue in step with what is seen of the exports."""

from collections.abc import Callable, Iterable
from dataclasses import replace

from backupexport_contract.resources import BackupExport

from backupexport_operator.observation import Observation, Turn
from backupexport_operator.sightings import Sightings
from backupexport_operator.start_queue import StartQueue
from backupexport_operator.volume_state import is_at_work


class Turns:
    """`ask_all` gets the exports that may start because another has left."""

    def __init__(
        self,
        sightings: Sightings,
        queue: StartQueue,
        ask_all: Callable[[Iterable[str]], None],
    ) -> None:
        self._sightings = sightings
        self._queue = queue
        self._ask_all = ask_all
        self._is_filled = False
        # How many waited before each when that was told.
        self._told: dict[str, int] = {}

    def with_turn(self, seen: Observation) -> Observation:
        """`seen`, and whether it is the export's turn.

        Its place is told when it comes and when it has halved: not each time that one before it
        goes, which would be a write for each of a thousand.
        """
        if not self._is_filled:
            self._fill()
        if self._may_start(seen):
            return seen
        uid, status = seen.export.metadata.uid, seen.export.status
        place = self._queue.place(uid)
        told = status.message if status.reason is None else None
        if told is None or place.before <= self._told.get(uid, place.before) // 2:
            self._told[uid] = place.before
            told = place.words
        else:
            self._told.setdefault(uid, place.before)
        return replace(seen, turn=Turn(may_start=False, place=told))

    def start(self, export: BackupExport) -> None:
        """The export is about to get its Job."""
        self._told.pop(export.metadata.uid, None)
        self._queue.start(export.metadata.uid, export.spec.project_id)

    def step_back(self, uid: str) -> None:
        """The export can't start just now, for a reason that the next one would meet as well."""
        self._queue.leave(uid)

    def leave(self, uid: str) -> None:
        """The export has ended, is gone, or can't start."""
        self._told.pop(uid, None)
        self._ask_all(self._queue.leave(uid))

    def _fill(self) -> None:
        """Count everybody before anybody is let in, after a restart."""
        self._is_filled = True
        for uid in self._sightings.uids():
            export = self._sightings.export(uid)
            if export is not None:
                self._may_start(self._sightings.observe(export))

    def _may_start(self, seen: Observation) -> bool:
        """Whether nothing about the queue keeps the export from its Job."""
        export, target = seen.export, seen.target
        uid, project_id = export.metadata.uid, export.spec.project_id
        has_job = seen.job is not None or export.status.job_name is not None
        # What somebody else's finalizer holds may stay for ever, and needs no slot for it.
        is_over = export.phase.is_finished or (
            export.metadata.deletion_timestamp is not None and not is_at_work(seen)
        )
        if has_job and not is_over:
            self._queue.start(uid, project_id)
            return True
        if is_over or target is None or target.spec.suspend or export.spec.cancel:
            self.leave(uid)
            return True
        arrival = (export.metadata.creation_timestamp, export.created_at, uid)
        return self._queue.wait(uid, project_id, target.spec.max_concurrent, arrival)
