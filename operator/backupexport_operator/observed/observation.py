"""What was seen of one BackupExport at one time."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from backupexport_contract import names, rules
from backupexport_contract.backup_export import BackupExport
from backupexport_contract.deliveries import Deliveries
from backupexport_contract.export_target import ExportTarget
from backupexport_contract.runner_protocol import TASK_REMOVE, TASK_TIDY, Progress, delivery_task
from backupexport_contract.storages import DEFAULT_NAME, Storage

from backupexport_operator.observed.jobs_and_pods import ObservedJob, ObservedPod
from backupexport_operator.observed.places import Place, accepted_place, place_of

TARGET_PATIENCE = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class SideJob:
    """A side Job, which cleans up or delivers, and its pods; `job` is None if there is none."""

    job: ObservedJob | None = None
    pods: Sequence[ObservedPod] = ()


@dataclass(frozen=True, slots=True)
class Observation:
    """Everything that a decision about one export may use.

    `lost_job` and `lost_pods` are gone; they are as they were seen last by this process.
    `orphans` are pods whose Job was deleted without them: they work on, and nobody counts them.
    `tidy_job` removes partial files, `remove_job` the file; `delivery_jobs` are by kind.
    `place_in_queue` tells in words which exports come first; None if none does.
    `retention_seconds` (None to keep exports for good), `deliveries`, `max_stored_bytes` (None for
    no limit), `own_secrets`, which no target may name, and `target_patience`, which a target has to
    come back, are the chart's, and so are `storages`, by their names, and `chart_claim`, its own
    volume's.
    `stored_bytes` is what the project's files take; None if nobody looked.
    `warning` is `Reason: note` of the newest Event of type Warning about the newest pod, or about
    the Job if it has no pod; empty if there is none, None if nobody looked.
    `progress` is the newest that the runner's log told.
    """

    export: BackupExport
    target: ExportTarget | None
    job: ObservedJob | None
    pods: Sequence[ObservedPod]
    now: datetime
    backoff_limit: int
    lost_job: ObservedJob | None = None
    lost_pods: Sequence[ObservedPod] = ()
    orphans: Sequence[ObservedPod] = ()
    tidy_job: SideJob = field(default_factory=SideJob)
    remove_job: SideJob = field(default_factory=SideJob)
    place_in_queue: str | None = None
    delivery_jobs: Mapping[str, SideJob] = field(default_factory=dict)
    deliveries: Deliveries = field(default_factory=Deliveries)
    retention_seconds: int | None = None
    max_stored_bytes: int | None = None
    stored_bytes: int | None = None
    own_secrets: Collection[str] = ()
    storages: Mapping[str, Storage] = field(default_factory=dict)
    chart_claim: str = ""
    target_patience: timedelta = TARGET_PATIENCE
    warning: str | None = None
    progress: Progress | None = None

    @property
    def attempts(self) -> Sequence[ObservedPod]:
        """The export's pods, those that are gone too, the oldest first."""
        known = {pod.name: pod for pod in (*self.lost_pods, *self.pods)}
        return sorted(known.values(), key=lambda pod: (pod.created_at, pod.name))

    @property
    def stored_limit(self) -> int | None:
        """How much the files of the project may take, in bytes; None for no limit."""
        own = self.target.spec.max_stored_bytes if self.target else None
        return own or self.max_stored_bytes

    @property
    def room_bytes(self) -> int | None:
        """How much of that is left, 0 if no file fits; None for no limit, or if nobody looked."""
        limit, stored = self.stored_limit, self.stored_bytes
        if limit is None or stored is None:
            return None
        return left if (left := limit - stored) >= rules.LEAST_FILE_BYTES else 0

    @property
    def storage_name(self) -> str:
        """The storage that the export was, or would be, accepted for."""
        of_target = self.target.spec.storage if self.target else None
        noted = self._noted_place
        return self.export.status.storage or (noted.storage if noted else of_target or DEFAULT_NAME)

    @property
    def place(self) -> Place | None:
        """Where the export's attempts write; None if the chart has no such storage."""
        return (
            self._noted_place
            or accepted_place(self.export, self.storages)
            or place_of(self.storage_name, self.storages)
        )

    @property
    def accepted_export(self) -> BackupExport:
        """The export with the recipients in its status that its Job was, or would be, made with.

        Its file's name follows from them.
        """
        export, status = self.export, self.export.status
        if status.job_name:
            return export
        encryption = self.target.spec.encryption if self.target else None
        recipients = list((encryption and encryption.recipients) or ())
        if (job := self._own_job or self.lost_job) is not None:
            # The target may be another by now.
            own = export.spec.encrypt_to or ()
            recipients = [each for each in job.recipients if each not in own]
        status = status.model_copy(update={"target_recipients": recipients})
        return export.model_copy(update={"status": status})

    @property
    def _own_job(self) -> ObservedJob | None:
        job = self.job
        return job if job and job.owner_uid == self.export.metadata.uid else None

    @property
    def _noted_place(self) -> Place | None:
        jobs = (self._own_job, self.lost_job, self.tidy_job.job)
        return next((job.place for job in jobs if job is not None and job.place), None)

    @property
    def job_name(self) -> str:
        """The name of the export's own Job."""
        return names.job_name(self.export.metadata.name)


def with_jobs_and_pods(
    seen: Observation, jobs: Iterable[ObservedJob], pods: Iterable[ObservedPod]
) -> Observation:
    """Returns `seen` with these Jobs and Pods, each under its task.

    It leaves out Jobs of other names and pods of none of ours: copies of ours, with the labels.
    """
    job_of = {job.name: job for job in jobs}
    pods_of: dict[str, list[ObservedPod]] = {}
    orphans_of: dict[str, list[ObservedPod]] = {}
    for pod in pods:
        if pod.orphan_of:
            orphans_of.setdefault(pod.orphan_of, []).append(pod)
        else:
            pods_of.setdefault(pod.job, []).append(pod)

    def side_job(task: str) -> SideJob:
        name = names.task_job_name(seen.export.metadata.name, task)
        return SideJob(job_of.get(name), pods_of.get(name, []))

    return replace(
        seen,
        job=job_of.get(seen.job_name),
        pods=pods_of.get(seen.job_name, []),
        orphans=orphans_of.get(seen.job_name, []),
        tidy_job=side_job(TASK_TIDY),
        remove_job=side_job(TASK_REMOVE),
        delivery_jobs={kind: side_job(delivery_task(kind)) for kind in Deliveries.kinds()},
    )


def serving_target(targets: Iterable[ExportTarget]) -> ExportTarget | None:
    """Returns the oldest target of one project; of two from one second, the first by name."""

    def age(target: ExportTarget) -> tuple[str, str]:
        return target.metadata.creation_timestamp, target.metadata.name

    return min(targets, key=age, default=None)
