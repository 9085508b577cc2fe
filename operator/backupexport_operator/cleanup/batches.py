"""Which exports' files the next Job removes, and which Job has an export; no I/O.

A batch is a Job for many files of one storage.  Should it fail, its exports are tried again in
smaller batches, until the one that can't be removed is alone and holds up no other.
"""

import itertools
from collections import Counter
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field

from backupexport_contract import names

from backupexport_operator.observed.export_cache import Index, all_of, values
from backupexport_operator.observed.jobs_and_pods import ObservedJob, ObservedPod
from backupexport_operator.observed.observation import SideJob
from backupexport_operator.observed.places import Place

MOST_FILES = 200
# Each project is a mount of the pod, which takes its node a moment.
MOST_PROJECTS = 50
# At once, in all and of one storage: one that can't be reached leaves room for others.
MOST_BATCHES = 4
MOST_BATCHES_OF_A_PLACE = 2
_SMALLER = 8
# How far it is looked for more exports of a batch's projects.
_LONGEST_LOOK = 2000


@dataclass(frozen=True, slots=True)
class Batch:
    """The uids of exports whose files one Job may remove, as they are all at `place`."""

    place: Place
    uids: tuple[str, ...]


@dataclass
class Batches:
    """What is known of batches, by `jobs` and `pods` that the watches have told, and what waits."""

    jobs: Index[ObservedJob]
    pods: Index[ObservedPod]
    # Those that this process has made and no watch has told of yet.
    _made: dict[str, ObservedJob] = field(default_factory=dict, init=False)
    # The newest batch of each export, and the exports of each that are still there.
    _batch_of: dict[str, str] = field(default_factory=dict, init=False)
    _left: dict[str, set[str]] = field(default_factory=dict, init=False)
    # (place, how many may go together) -> uid -> project id, the longest waiting first.
    _waiting: dict[tuple[Place, int], dict[str, str]] = field(default_factory=dict, init=False)

    def note_all(self) -> list[str]:
        """Take all that the watches have told, of a predecessor too.  Returns their names."""
        told = (job for job in all_of(self.jobs) if names.is_removal_batch(job.name) and job.batch)
        for job in sorted(told, key=lambda job: job.created_at):
            self.note(job)
        return list(self._left)

    def note(self, job: ObservedJob) -> None:
        """Take a batch that the watches have told of, or that was made just now."""
        if job.name in self._left:
            return
        self._left[job.name] = set(job.batch)
        for uid in job.batch:
            before = self._batch_of.get(uid)
            known = self.job(before) if before else None
            if known is None or known.created_at <= job.created_at:
                self._batch_of[uid] = job.name

    def note_made(self, job: ObservedJob) -> None:
        """Take a batch that was made just now, before a watch tells of it."""
        self._made[job.name] = job
        self._left.pop(job.name, None)
        self.note(job)
        for uid in job.batch:
            self._batch_of[uid] = job.name

    def job(self, name: str) -> ObservedJob | None:
        """Returns the batch as it was seen last; None if it is gone."""
        told = next(values(self.jobs, name), None)
        if told is not None:
            self._made.pop(name, None)
        return told or self._made.get(name)

    def forget_made(self, name: str) -> None:
        """Believe the watches alone about a batch that this process has made."""
        self._made.pop(name, None)

    def forget_job(self, name: str) -> set[str]:
        """Drop a batch that is gone.  Returns its exports that are still there."""
        self._made.pop(name, None)
        left = self._left.pop(name, set())
        for uid in left:
            if self._batch_of.get(uid) == name:
                del self._batch_of[uid]
        return left

    def left(self, name: str, there: Container[str]) -> set[str]:
        """Returns the exports of the batch that are still there; `there` are all exports."""
        left = {uid for uid in self._left.get(name, ()) if uid in there}
        if name in self._left:
            self._left[name] = left
        return set(left)

    def of(self, export_uid: str) -> SideJob:
        """Returns the newest batch that has the export, with its pods."""
        name = self._batch_of.get(export_uid)
        job = self.job(name) if name else None
        if name is None or job is None or export_uid not in job.batch:
            return SideJob()
        return SideJob(job, tuple(values(self.pods, name)))

    def forget(self, export_uid: str) -> str | None:
        """Drop an export that is gone.  Returns the batch of which it was the last."""
        for waiting in self._waiting.values():
            waiting.pop(export_uid, None)
        name = self._batch_of.pop(export_uid, None)
        if name is None or name not in self._left:
            return None
        self._left[name].discard(export_uid)
        return None if self._left[name] else name

    def wait(self, export_uid: str, project_id: str, place: Place) -> None:
        """Have the export's file removed by one of the next batches."""
        before = self.of(export_uid).job
        failed = before is not None and before.failure is not None
        most = max(1, len(before.batch) // _SMALLER) if before and failed else MOST_FILES
        self._waiting.setdefault((place, most), {}).setdefault(export_uid, project_id)

    def take(self) -> Iterator[Batch]:
        """Yields the batches that may begin now, and takes their exports out of the line."""
        under_way = [job for name in list(self._left) if (job := self.job(name)) and _works(job)]
        free = MOST_BATCHES - len(under_way)
        at_place = Counter(job.place.address for job in under_way if job.place is not None)
        # Those that have failed come last.
        for key in sorted(self._waiting, key=lambda it: it[1], reverse=True):
            place, most = key
            waiting = self._waiting[key]
            while waiting and free > 0 and at_place[place.address] < MOST_BATCHES_OF_A_PLACE:
                uids = next_batch(waiting, most)
                for uid in uids:
                    del waiting[uid]
                yield Batch(place, uids)
                free -= 1
                at_place[place.address] += 1
            if not waiting:
                del self._waiting[key]


def next_batch(waiting: Mapping[str, str], most: int) -> tuple[str, ...]:
    """Returns at most so many uids of `waiting`, which has their projects, from its beginning."""
    chosen: list[str] = []
    projects: set[str] = set()
    for uid, project_id in itertools.islice(waiting.items(), _LONGEST_LOOK):
        if project_id not in projects and len(projects) == MOST_PROJECTS:
            continue
        projects.add(project_id)
        chosen.append(uid)
        if len(chosen) == most:
            break
    return tuple(chosen)


def _works(job: ObservedJob) -> bool:
    return not job.complete and job.failure is None and not job.deleting
