"""What a decision about one BackupExport rests on, and what it may ask for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from backupexport_contract.delivery_settings import Deliveries
from backupexport_contract.resources import BackupExport, BackupExportStatus
from backupexport_contract.runner_protocol import Progress
from backupexport_contract.target_resource import ExportTarget

from backupexport_operator.facts import JobFacts, PodFacts


@dataclass(frozen=True, slots=True)
class TaskRun:
    """A Job beside the export's own, a cleanup's or a delivery's, and its pods.

    Without `job` there is none.
    """

    job: JobFacts | None = None
    pods: Sequence[PodFacts] = ()


@dataclass(frozen=True, slots=True)
class Turn:
    """Whether an export that has no Job yet may have one, else its place in words."""

    may_start: bool = True
    place: str = ""


@dataclass(frozen=True, slots=True)
class Observation:
    """Everything a decision rests on.

    `lost_job` and `lost_pods` are how those looked last that are gone by now; after a restart of
    the operator nothing is known of them.  `progress` is the newest that the runner's log told.
    `retention_seconds` is the chart's, None to keep exports for good, and so are `deliveries`, by
    whose kinds `delivery_runs` are named.  `warning` is the newest of Kubernetes' own about the
    pod, or about the Job while it has none; None where nobody looked.
    """

    export: BackupExport
    target: ExportTarget | None
    job: JobFacts | None
    pods: Sequence[PodFacts]
    now: datetime
    backoff_limit: int
    lost_job: JobFacts | None = None
    lost_pods: Sequence[PodFacts] = ()
    tidying: TaskRun = field(default_factory=TaskRun)
    removal: TaskRun = field(default_factory=TaskRun)
    turn: Turn = field(default_factory=Turn)
    delivery_runs: Mapping[str, TaskRun] = field(default_factory=dict)
    deliveries: Deliveries = field(default_factory=Deliveries)
    retention_seconds: int | None = None
    warning: str | None = None
    progress: Progress | None = None

    @property
    def attempts(self) -> Sequence[PodFacts]:
        """Every pod that is known of the export, the lost ones too, the oldest first."""
        known = {pod.name: pod for pod in (*self.lost_pods, *self.pods)}
        return sorted(known.values(), key=lambda pod: (pod.created_at, pod.name))


@dataclass(frozen=True, slots=True)
class Plan:
    """The status that should be, and what to do beside writing it.

    `is_verdict` says that the export has failed or is cancelled, whether or not its status says so
    already: what leads there must have been read afresh.  `create_cleanup` and `delete_cleanup`
    name the cleanup's task.
    """

    status: BackupExportStatus
    is_verdict: bool = False
    create_job: bool = False
    delete_job: bool = False
    create_cleanup: str | None = None
    delete_cleanup: str | None = None
    add_finalizer: bool = False
    remove_finalizer: bool = False
    wants_warning: bool = False
    follow_pod: str | None = None
    recheck_after: timedelta | None = None
