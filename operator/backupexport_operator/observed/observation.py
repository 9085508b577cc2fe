"""What a decision about one BackupExport rests on, and what it may ask for."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from backupexport_contract import names
from backupexport_contract.backup_export import BackupExport
from backupexport_contract.deliveries import Deliveries
from backupexport_contract.export_target import ExportTarget
from backupexport_contract.runner_protocol import TASK_REMOVE, TASK_TIDY, Progress, delivery_task

from backupexport_operator.observed.jobs_and_pods import ObservedJob, ObservedPod


@dataclass(frozen=True, slots=True)
class SideJob:
    """A Job beside the export's own, a cleanup's or a delivery's, and its pods.

    Without `job` there is none.
    """

    job: ObservedJob | None = None
    pods: Sequence[ObservedPod] = ()


@dataclass(frozen=True, slots=True)
class Observation:
    """Everything a decision rests on.

    `lost_job` and `lost_pods` are how those looked last that are gone by now; after a restart of
    the operator nothing is known of them.  `progress` is the newest that the runner's log told.
    `retention_seconds` is the chart's, None to keep exports for good, and so are `deliveries`, by
    whose kinds `delivery_jobs` are named.  `warning` is the newest of Kubernetes' own about the
    pod, or about the Job while it has none; None where nobody looked.
    """

    export: BackupExport
    target: ExportTarget | None
    job: ObservedJob | None
    pods: Sequence[ObservedPod]
    now: datetime
    backoff_limit: int
    lost_job: ObservedJob | None = None
    lost_pods: Sequence[ObservedPod] = ()
    tidy_job: SideJob = field(default_factory=SideJob)
    remove_job: SideJob = field(default_factory=SideJob)
    place_in_queue: str | None = None
    delivery_jobs: Mapping[str, SideJob] = field(default_factory=dict)
    deliveries: Deliveries = field(default_factory=Deliveries)
    retention_seconds: int | None = None
    warning: str | None = None
    progress: Progress | None = None

    @property
    def attempts(self) -> Sequence[ObservedPod]:
        """Every pod that is known of the export, the lost ones too, the oldest first."""
        known = {pod.name: pod for pod in (*self.lost_pods, *self.pods)}
        return sorted(known.values(), key=lambda pod: (pod.created_at, pod.name))


def with_jobs_and_pods(
    seen: Observation, jobs: Iterable[ObservedJob], pods: Iterable[ObservedPod]
) -> Observation:
    """`seen` with these Jobs and Pods of the export, each at its task.

    A Job of another name and a pod of no such Job are copies that somebody made, labels and all.
    """
    job_of = {job.name: job for job in jobs}
    pods_of: dict[str, list[ObservedPod]] = {}
    for pod in pods:
        pods_of.setdefault(pod.job, []).append(pod)
    name = seen.export.metadata.name
    own = names.job_name(name)

    def run_of(task: str) -> SideJob:
        job_name = names.task_job_name(name, task)
        return SideJob(job_of.get(job_name), pods_of.get(job_name, []))

    return replace(
        seen,
        job=job_of.get(own),
        pods=pods_of.get(own, []),
        tidy_job=run_of(TASK_TIDY),
        remove_job=run_of(TASK_REMOVE),
        delivery_jobs={kind: run_of(delivery_task(kind)) for kind in Deliveries.kinds()},
    )


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything unfinished at one time.

    Exports are under their uid, Jobs and Pods under that of their export; of targets it has the
    version under the uid.
    """

    exports: Mapping[str, BackupExport]
    targets: Mapping[str, int]
    jobs: Mapping[str, frozenset[ObservedJob]]
    pods: Mapping[str, frozenset[ObservedPod]]


def serving_target(targets: Iterable[ExportTarget]) -> ExportTarget | None:
    """The oldest target of one project; the name decides between two of one second."""
    return min(targets, key=_age, default=None)


def _age(target: ExportTarget) -> tuple[str, str]:
    return target.metadata.creation_timestamp, target.metadata.name
