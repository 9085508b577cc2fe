"""All jobs, by id and in the order of lists.

Jobs that a caller may not see are not even looked at: the time of an answer would tell of them.
"""

import bisect
import heapq
import itertools
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator

from backupexport_contract.reasons import Phase

from backupexport_api.auth.claims import ProjectAccess
from backupexport_api.jobs.cached_job import CachedJob
from backupexport_api.jobs.query import JobQuery, Position

OnChange = Callable[[str, CachedJob | None], None]


class JobIndex:
    """Jobs by id, and for each project in order."""

    def __init__(self, on_change: OnChange = lambda *_: None) -> None:
        """`on_change` gets, in order, the id of each job that has changed, and the job or None."""
        self._on_change = on_change
        self._lock = threading.Lock()
        self._jobs: dict[str, CachedJob] = {}
        self._ids_of_names: dict[str, str] = {}
        # Until the watch has brought them, or newer ones.
        self._written: dict[str, CachedJob] = {}
        self._order: list[Position] = []
        self._order_of_project: defaultdict[str, list[Position]] = defaultdict(list)
        self._phases: Counter[Phase] = Counter()

    def put(self, job: CachedJob) -> None:
        """Add a job, or replace it by its new version, as a watch brings it."""
        with self._lock:
            written = self._written.get(job.name)
            if written and written.uid == job.uid and _number(job) < _number(written):
                return
            self._written.pop(job.name, None)
            changed = {self._remove(job.name), job.job_id}
            self._add(job)
        self._tell(changed)

    def put_written(self, job: CachedJob) -> None:
        """Replace a job by what a write of ours has made of it: the watch may be behind that."""
        with self._lock:
            known = self._jobs.get(self._ids_of_names.get(job.name, ""))
            if known and (known.uid != job.uid or _number(known) >= _number(job)):
                return
            self._written[job.name] = job
            if known is None:
                # It may be deleted already, which nobody would tell of again.
                return
            changed = {self._remove(job.name), job.job_id}
            self._add(job)
        self._tell(changed)

    def discard(self, name: str) -> None:
        """Remove the job of the resource with this name."""
        with self._lock:
            self._written.pop(name, None)
            changed = {self._remove(name)}
        self._tell(changed)

    def get(self, job_id: str) -> CachedJob | None:
        """Return the job with this id."""
        # `put` removes the old version before it adds the new one.
        with self._lock:
            return self._jobs.get(job_id)

    def page(self, query: JobQuery, access: ProjectAccess) -> tuple[list[CachedJob], bool]:
        """Return the jobs that `query` asks for and `access` allows, and whether there are more."""
        with self._lock:
            jobs = (self._jobs[job_id] for _, job_id in self._newest_first(query, access))
            if query.status is not None:
                jobs = (job for job in jobs if job.phase == query.phase)
            found = list(itertools.islice(jobs, query.limit + 1))
        return found[: query.limit], len(found) > query.limit

    def newest_of(self, project_id: str) -> CachedJob | None:
        """Return the project's newest job; whether the caller may see it is not checked."""
        with self._lock:
            order = self._order_of_project.get(project_id)
            return self._jobs[order[-1][1]] if order else None

    def count_by_phase(self) -> dict[Phase, int]:
        """Return how many jobs there are in each phase."""
        return {phase: self._phases[phase] for phase in Phase}

    def _tell(self, changed: set[str | None]) -> None:
        for job_id in changed:
            if job_id is not None:
                self._on_change(job_id, self._jobs.get(job_id))

    def _add(self, job: CachedJob) -> None:
        namesake = self._jobs.get(job.job_id)
        if namesake is not None:
            # Somebody has named a resource after another one's uid; that one keeps the id.
            if namesake.uid == job.job_id:
                return
            self._remove(namesake.name)
        self._jobs[job.job_id] = job
        self._ids_of_names[job.name] = job.job_id
        self._phases[job.phase] += 1
        for order in self._orders_of(job):
            bisect.insort(order, job.position)

    def _newest_first(self, query: JobQuery, access: ProjectAccess) -> Iterable[Position]:
        if query.project_id is not None:
            allowed = access.allows(query.project_id)
            orders = [self._order_of_project.get(query.project_id, [])] if allowed else []
        elif access.every_project:
            orders = [self._order]
        else:
            orders = [self._order_of_project.get(project, []) for project in access.project_ids]
        return heapq.merge(*(_from(order, query.after) for order in orders), reverse=True)

    def _orders_of(self, job: CachedJob) -> tuple[list[Position], list[Position]]:
        return self._order, self._order_of_project[job.project_id]

    def _remove(self, name: str) -> str | None:
        """Remove the job of a resource; return its id if there was one."""
        job_id = self._ids_of_names.pop(name, None)
        if job_id is None:
            return None
        job = self._jobs.pop(job_id)
        self._phases[job.phase] -= 1
        for order in self._orders_of(job):
            del order[bisect.bisect_left(order, job.position)]
        if not self._order_of_project[job.project_id]:
            del self._order_of_project[job.project_id]
        return job_id


def _number(job: CachedJob) -> int:
    """Return the resourceVersion, which grows with each write (KEP-5504); 0 for no number."""
    version = job.resource_version
    return int(version) if version.isdecimal() else 0


def _from(order: list[Position], after: Position | None) -> Iterator[Position]:
    """Yield the positions before `after`, the last one first."""
    end = len(order) if after is None else bisect.bisect_left(order, after)
    return (order[index] for index in range(end - 1, -1, -1))
