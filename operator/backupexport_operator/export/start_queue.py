"""Which export may start next, within the limits of its project and of the operator.

Within a project the oldest export goes first.  Between projects the one with the fewest running
goes first, and of equals the one whose next export waits longest.  So a project with a thousand
exports delays another project's first one only until any slot is free.

The queue is no source of truth: QueueSync fills it from what is seen of the exports.
"""

import heapq
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from backupexport_contract.backup_export import BackupExport

from backupexport_operator.observed.export_cache import ExportCache
from backupexport_operator.observed.export_files import is_at_work, silent_attempt
from backupexport_operator.observed.observation import Observation

# (creationTimestamp, which nobody can forge; the finer `created_at`; uid): what sorts exports.
Arrival = tuple[str, str, str]


@dataclass(slots=True)
class _Project:
    limit: int = 1
    active: set[str] = field(default_factory=set)
    waiting: list[Arrival] = field(default_factory=list)


@dataclass
class StartQueue:
    """The exports that wait and those that have a Job, at most `limit` in all; 0 for no limit."""

    limit: int
    _projects: dict[str, _Project] = field(default_factory=dict, init=False)
    _project_of: dict[str, str] = field(default_factory=dict, init=False)
    _arrival_of: dict[str, Arrival] = field(default_factory=dict, init=False)
    _active: int = field(default=0, init=False)
    # Kept until anything changes, because a resync asks for every export.
    _next_ones: frozenset[str] | None = field(default=None, init=False)

    @property
    def waiting(self) -> int:
        """How many exports wait."""
        return len(self._arrival_of)

    def wait(self, uid: str, project_id: str, limit: int, arrival: Arrival) -> bool:
        """Put the export into the queue of its project, of which at most `limit` may run.

        Returns whether it may start.
        """
        project = self._projects.get(project_id)
        if (
            project is None
            or project.limit != limit
            or self._arrival_of.get(uid) != arrival
            or self._project_of[uid] != project_id
        ):
            project = self._enter(uid, project_id)
            project.limit = limit
            insort(project.waiting, arrival)
            self._arrival_of[uid] = arrival
        return uid in self._next()

    def place(self, uid: str) -> tuple[int, str]:
        """Returns how many exports wait before one that waits, and a sentence that says so."""
        project, arrival = self._projects[self._project_of[uid]], self._arrival_of[uid]
        before = bisect_left(project.waiting, arrival)
        if len(project.active) + before >= project.limit:
            running = f"of this project running (maxConcurrent is {project.limit})"
            return before, _words(len(project.active), running, before)
        before = sum(bisect_left(other.waiting, arrival) for other in self._projects.values())
        running = f"running (the operator runs at most {self.limit} at once)"
        return before, _words(self._active, running, before)

    def start(self, uid: str, project_id: str) -> None:
        """Count the export as running: it has a Job, or is about to."""
        project = self._projects.get(project_id)
        if project is None or uid not in project.active:
            self._enter(uid, project_id).active.add(uid)
            self._active += 1

    def leave(self, uid: str) -> list[str]:
        """Take the export out.  Returns the uids of those that may start now."""
        if uid not in self._project_of:
            return []
        self._remove(uid)
        return sorted(self._next())

    def _enter(self, uid: str, project_id: str) -> _Project:
        self._remove(uid)
        self._next_ones = None
        self._project_of[uid] = project_id
        return self._projects.setdefault(project_id, _Project())

    def _remove(self, uid: str) -> None:
        project_id = self._project_of.pop(uid, None)
        if project_id is None:
            return
        self._next_ones = None
        project = self._projects[project_id]
        arrival = self._arrival_of.pop(uid, None)
        if arrival is None:
            project.active.remove(uid)
            self._active -= 1
        else:
            del project.waiting[bisect_left(project.waiting, arrival)]
        if not project.active and not project.waiting:
            del self._projects[project_id]

    def _next(self) -> frozenset[str]:
        if self._next_ones is None:
            free = self.limit - self._active if self.limit else self.waiting
            self._next_ones = frozenset(self._first(free))
        return self._next_ones

    def _first(self, free: int) -> Iterator[str]:
        """Yields the uids of the exports that get the next `free` slots, in order."""
        heap: list[tuple[int, Arrival, int, str]] = []

        def push(project_id: str, position: int) -> None:
            project = self._projects[project_id]
            running = len(project.active) + position
            if running < project.limit and position < len(project.waiting):
                heapq.heappush(heap, (running, project.waiting[position], position, project_id))

        for project_id in self._projects:
            push(project_id, 0)
        while heap and free > 0:
            _, arrival, position, project_id = heapq.heappop(heap)
            yield arrival[-1]
            free -= 1
            push(project_id, position + 1)


def _words(active: int, running: str, before: int) -> str:
    return f"Waiting for its turn: {_count(active)} {running}, {_count(before)} waiting before it."


def _count(number: int) -> str:
    return "1 export" if number == 1 else f"{number or 'no'} exports"


@dataclass
class QueueSync:
    """Keeps the queue in step with what is seen; `ask` gets the uids of exports that may start."""

    cache: ExportCache
    queue: StartQueue
    ask: Callable[[str], None]
    _is_filled: bool = field(default=False, init=False)
    # By uid, how many exports came first when a status told so.
    _told: dict[str, int] = field(default_factory=dict, init=False)

    def with_place(self, seen: Observation) -> Observation:
        """Returns `seen` with the export's place in the queue, unless it may start.

        The words change when the export comes and when half of those before it have gone: if they
        changed with every one, each start would write a thousand statuses.
        """
        if not self._is_filled:
            self._fill()
        if self._may_start(seen):
            return seen
        uid, status = seen.export.metadata.uid, seen.export.status
        before, words = self.queue.place(uid)
        told = status.message if status.reason is None else None
        if told is None or before <= self._told.get(uid, before) // 2:
            self._told[uid] = before
            told = words
        else:
            self._told.setdefault(uid, before)
        return replace(seen, place_in_queue=told)

    def start(self, export: BackupExport) -> None:
        """The export is about to have a Job."""
        self._told.pop(export.metadata.uid, None)
        self.queue.start(export.metadata.uid, export.spec.project_id)

    def leave(self, uid: str, *, wake_next: bool = True) -> None:
        """The export has ended, is gone, or can't start now.

        `wake_next` is false if what keeps it from its start would keep the next one, too.
        """
        following = self.queue.leave(uid)
        if wake_next:
            self._told.pop(uid, None)
            for other in following:
                self.ask(other)

    def _fill(self) -> None:
        """After a restart, count the exports that run before another one may start."""
        self._is_filled = True
        for uid in self.cache.uids():
            export = self.cache.export(uid)
            if export is not None:
                self._may_start(self.cache.observe(export))

    def _may_start(self, seen: Observation) -> bool:
        """Put the export where it belongs.  Returns whether the queue lets it go on."""
        export, target = seen.export, seen.target
        uid, project_id = export.metadata.uid, export.spec.project_id
        has_job = seen.job is not None or export.status.job_name is not None
        # Another's finalizer may hold a deleted export for ever; it must not hold a slot.
        is_over = export.phase.is_finished or (
            export.metadata.deletion_timestamp is not None and not is_at_work(seen)
        )
        if has_job and not is_over:
            if silent_attempt(seen) is None:
                self.queue.start(uid, project_id)
            else:
                # Nobody knows for how long, and no two exports write to the same files.
                self.leave(uid)
            return True
        # A project without room must not hold places that others could have.
        has_room = seen.room_bytes != 0 and seen.place is not None
        if is_over or target is None or target.spec.suspend or not has_room or export.spec.cancel:
            self.leave(uid)
            return True
        arrival = (export.metadata.creation_timestamp, export.created_at, uid)
        return self.queue.wait(uid, project_id, target.spec.max_concurrent, arrival)
