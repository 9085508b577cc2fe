"""Who may start next: limits for each project and for all, first come first served.

Within a project the oldest export goes first.  Between projects the one with the fewest running
goes first, and of equals the one whose next export waits longest: a project with a thousand
exports never keeps another's first one waiting longer than a slot takes to come free.

It holds no truth of its own: all of it follows from the exports it has been told of.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field

from backupexport_operator.observation import Turn

# When it came: creationTimestamp first, which nobody can forge.
Arrival = tuple[str, str, str]


@dataclass(slots=True)
class _Project:
    limit: int = 1
    active: set[str] = field(default_factory=set)
    waiting: dict[str, Arrival] = field(default_factory=dict)

    def in_order(self) -> list[str]:
        return sorted(self.waiting, key=self.waiting.__getitem__)


class StartQueue:
    """The exports that wait and those that have a Job; `limit` is for all projects, 0 for none."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._projects: dict[str, _Project] = {}
        self._project_of: dict[str, str] = {}
        self._active = 0

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._project_of) - self._active

    def wait(self, uid: str, project_id: str, limit: int, arrival: Arrival) -> Turn:
        """Put the export in the queue; its project runs at most `limit` at once."""
        project = self._enter(uid, project_id)
        project.limit = limit
        project.waiting[uid] = arrival
        if self._has_room_for_all(project):
            return Turn()
        free = self._limit - self._active if self._limit else len(self._project_of)
        if uid in self._next(free):
            return Turn()
        return Turn(may_start=False, place=self._place(uid, project))

    def start(self, uid: str, project_id: str) -> None:
        """The export has a Job, or is about to."""
        project = self._enter(uid, project_id)
        project.active.add(uid)
        self._active += 1

    def leave(self, uid: str) -> list[str]:
        """The export has ended or is gone, or can't start for now; who may start instead."""
        if uid not in self._project_of:
            return []
        self._remove(uid)
        return list(
            self._next(self._limit - self._active if self._limit else len(self._project_of))
        )

    def _enter(self, uid: str, project_id: str) -> _Project:
        self._remove(uid)
        self._project_of[uid] = project_id
        return self._projects.setdefault(project_id, _Project())

    def _remove(self, uid: str) -> None:
        project_id = self._project_of.pop(uid, None)
        if project_id is None:
            return
        project = self._projects[project_id]
        if uid in project.active:
            project.active.remove(uid)
            self._active -= 1
        project.waiting.pop(uid, None)
        if not project.active and not project.waiting:
            del self._projects[project_id]

    def _has_room_for_all(self, project: _Project) -> bool:
        of_project = len(project.active) + len(project.waiting)
        return of_project <= project.limit and (
            not self._limit or len(self._project_of) <= self._limit
        )

    def _next(self, free: int) -> Iterator[str]:
        """Who gets the next `free` slots, in order."""
        orders = {
            project_id: iter(project.in_order())
            for project_id, project in self._projects.items()
            if project.waiting
        }
        heap: list[tuple[int, Arrival, str, str]] = []
        for project_id in orders:
            self._push(heap, orders, project_id, len(self._projects[project_id].active))
        while heap and free > 0:
            running, _, project_id, uid = heapq.heappop(heap)
            yield uid
            free -= 1
            self._push(heap, orders, project_id, running + 1)

    def _push(
        self,
        heap: list[tuple[int, Arrival, str, str]],
        orders: dict[str, Iterator[str]],
        project_id: str,
        running: int,
    ) -> None:
        project = self._projects[project_id]
        if running < project.limit and (uid := next(orders[project_id], None)) is not None:
            heapq.heappush(heap, (running, project.waiting[uid], project_id, uid))

    def _place(self, uid: str, project: _Project) -> str:
        before = project.in_order().index(uid)
        if len(project.active) + before >= project.limit:
            return (
                f"Waiting for its turn: {_count(len(project.active))} of this project running "
                f"(maxConcurrent is {project.limit}), {_count(before)} waiting before it."
            )
        return (
            f"Waiting for its turn: {_count(self._active)} running (the operator runs at most "
            f"{self._limit} at once), {_count(self._before(uid, project))} waiting before it."
        )

    def _before(self, uid: str, project: _Project) -> int:
        arrival = project.waiting[uid]
        return sum(
            1
            for other in self._projects.values()
            for waiting in other.waiting.values()
            if waiting < arrival
        )


def _count(number: int) -> str:
    return "1 export" if number == 1 else f"{number or 'no'} exports"
