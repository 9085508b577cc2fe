"""What is known of each unfinished export: what the watches have told, and what they don't.

They don't tell what this process has just written (its watch brings that a little later), what a
deleted Job or pod looked like, what the runner's log told, and what they have missed.
"""

import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

from backupexport_contract import names, timestamps
from backupexport_contract.backup_export import BackupExport
from backupexport_contract.deliveries import Deliveries
from backupexport_contract.export_target import ExportTarget
from backupexport_contract.runner_protocol import Progress
from backupexport_contract.storages import Storage

from backupexport_operator.observed.jobs_and_pods import ObservedJob, ObservedPod
from backupexport_operator.observed.observation import (
    TARGET_PATIENCE,
    Observation,
    serving_target,
    with_jobs_and_pods,
)

Value = TypeVar("Value")

Index = Mapping[str, Collection[Value]]
"""Several values of each key; a kopf.Index is one, and changes as its watch tells."""


@dataclass(frozen=True)
class World:
    """What kopf's watches, or lists, have told: targets by project id, all else by export uid."""

    exports: Index[BackupExport]
    targets: Index[ExportTarget]
    jobs: Index[ObservedJob]
    pods: Index[ObservedPod]


@dataclass(slots=True)
class _Memory:
    """What no watch tells of one unfinished export, or not yet."""

    written: BackupExport | None = None
    made_job: ObservedJob | None = None
    lost_job: ObservedJob | None = None
    lost_pods: dict[str, ObservedPod] = field(default_factory=dict)
    progress: Progress | None = None
    shown: Progress | None = None
    shown_at: float = float("-inf")


@dataclass
class ExportCache:
    """Makes the Observation of an export; progress changes in it every `progress_seconds`."""

    world: World
    backoff_limit: int
    retention_seconds: int | None
    progress_seconds: float
    deliveries: Deliveries = field(default_factory=Deliveries)
    max_stored_bytes: int | None = None
    own_secrets: Collection[str] = ()
    storages: Mapping[str, Storage] = field(default_factory=dict)
    target_patience: timedelta = TARGET_PATIENCE
    chart_claim: str = ""
    _memories: dict[str, _Memory] = field(default_factory=dict, init=False)
    # kopf's watch doesn't tell of an export that goes while it lists anew.
    _gone: set[str] = field(default_factory=set, init=False)

    def uids(self) -> set[str]:
        """Returns the uids of all unfinished exports."""
        remembered = {uid for uid, memory in self._memories.items() if memory.written}
        return (set(self.world.exports.keys()) | remembered) - self._gone

    def export(self, uid: str) -> BackupExport | None:
        """Returns the newest version that is known of the export; None if it is gone."""
        if uid in self._gone:
            return None
        seen = next(values(self.world.exports, uid), None)
        memory = self._memories.get(uid)
        written = memory.written if memory else None
        if seen is None or (written is not None and _version(written) > _version(seen)):
            return written
        if memory is not None:
            memory.written = None
        return seen

    def is_new(self, uid: str) -> bool:
        """Returns whether nothing has been done for the export yet."""
        export, memory = self.export(uid), self._memories.get(uid)
        is_untouched = export is not None and export.status.phase is None
        return is_untouched and (memory is None or memory.made_job is None)

    def observe(self, export: BackupExport) -> Observation:
        """Returns what is known of `export` now."""
        uid = export.metadata.uid
        memory = self._memories.get(uid) or _Memory()
        seen = Observation(
            export=export,
            target=serving_target(values(self.world.targets, export.spec.project_id)),
            job=None,
            pods=(),
            now=timestamps.now(),
            backoff_limit=self.backoff_limit,
            lost_job=memory.lost_job,
            lost_pods=tuple(memory.lost_pods.values()),
            deliveries=self.deliveries,
            retention_seconds=self.retention_seconds,
            max_stored_bytes=self.max_stored_bytes,
            own_secrets=self.own_secrets,
            storages=self.storages,
            chart_claim=self.chart_claim,
            target_patience=self.target_patience,
            progress=self._progress_to_show(memory),
        )
        jobs = list(values(self.world.jobs, uid))
        if memory.made_job is not None:
            if any(job.name == memory.made_job.name for job in jobs):
                memory.made_job = None
            else:
                jobs.append(memory.made_job)
        return with_jobs_and_pods(seen, jobs, values(self.world.pods, uid))

    def note_written(self, export: BackupExport) -> None:
        """Take `export`, which this process has just written, before the watch brings it."""
        self._of(export.metadata.uid).written = export

    def note_made_job(self, uid: str, job: ObservedJob) -> None:
        """Take the Job that this process has just created before the watch brings it."""
        self._of(uid).made_job = job

    def note_lost_job(self, uid: str, job: ObservedJob) -> None:
        """Keep a Job that is gone as it was seen last."""
        if self._is_of(uid, job.name):
            memory = self._of(uid)
            memory.made_job, memory.lost_job = None, job

    def note_lost_pod(self, uid: str, pod: ObservedPod) -> None:
        """Keep a pod that is gone as it was seen last."""
        if self._is_of(uid, pod.job):
            self._of(uid).lost_pods[pod.name] = pod

    def note_progress(self, uid: str, progress: Progress) -> float | None:
        """Returns the seconds until it may be shown; None if it is nothing new."""
        memory = self._of(uid)
        if memory.progress == progress:
            return None
        memory.progress = progress
        return max(0.0, memory.shown_at + self.progress_seconds - time.monotonic())

    def note_gone(self, uid: str) -> None:
        """Drop an export that the API server no longer has."""
        self._gone.add(uid)
        self.forget(uid)

    def compare(self, snapshot: World) -> set[str]:
        """Returns the uids of the exports of which `snapshot` tells something else.

        A watch may be a moment late or have missed something: act on them only once read afresh.
        """
        known = self.uids()
        self._gone &= set(self.world.exports.keys())
        differing = {uid for uid in known if uid not in snapshot.exports}
        for export in all_of(snapshot.exports):
            uid = export.metadata.uid
            seen = self.export(uid)
            if seen is None or _version(seen) < _version(export):
                self._gone.discard(uid)
                self._of(uid).written = export
                differing.add(uid)
            elif self._differs(uid, snapshot):
                differing.add(uid)
        return differing

    def agrees_with(self, fresh: Observation) -> bool:
        """Returns whether the watches have told of the Jobs and Pods that were read afresh."""
        uid = fresh.export.metadata.uid
        jobs, pods = values(self.world.jobs, uid), values(self.world.pods, uid)
        told = with_jobs_and_pods(fresh, jobs, pods)
        return all(
            (mine.job, frozenset(mine.pods)) == (theirs.job, frozenset(theirs.pods))
            for mine, theirs in (
                (told, fresh),
                (told.tidy_job, fresh.tidy_job),
                (told.remove_job, fresh.remove_job),
            )
        )

    def forget(self, uid: str) -> None:
        """Drop what is kept of an export that has ended or is gone."""
        self._memories.pop(uid, None)

    def _differs(self, uid: str, snapshot: World) -> bool:
        memory = self._memories.get(uid)
        if memory is not None and memory.made_job is not None:
            # The watch may have missed both that it came and that it went.
            memory.made_job = None
            return True
        return set(values(self.world.jobs, uid)) != set(values(snapshot.jobs, uid)) or set(
            values(self.world.pods, uid)
        ) != set(values(snapshot.pods, uid))

    def _is_of(self, uid: str, job_name: str) -> bool:
        """Returns whether that is an unfinished export's own Job, and no copy of it."""
        export = self.export(uid)
        return export is not None and job_name == names.job_name(export.metadata.name)

    def _of(self, uid: str) -> _Memory:
        return self._memories.setdefault(uid, _Memory())

    def _progress_to_show(self, memory: _Memory) -> Progress | None:
        now = time.monotonic()
        if memory.progress != memory.shown and (now - memory.shown_at >= self.progress_seconds):
            memory.shown, memory.shown_at = memory.progress, now
        return memory.shown


def values(index: Index[Value], key: str) -> Iterator[Value]:
    """Yields the values of `key`, none if there is no such key."""
    return iter(index.get(key, ()))


def all_of(index: Index[Value]) -> Iterator[Value]:
    """Yields all values."""
    return (value for key in list(index.keys()) for value in values(index, key))


def _version(export: BackupExport) -> int:
    # KEP-5504 says that versions are integers; every released Kubernetes has them so.
    return int(export.metadata.resource_version or 0)
