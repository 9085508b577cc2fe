"""The operator's metrics, named by https://prometheus.io/docs/practices/naming/.

Every label has few values: only the first projects have a name of their own, lest new ones make
new series for ever.  To count raises nothing, since an export matters more than its number.
"""

import functools
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ParamSpec

import aiohttp
from backupexport_contract import timestamps
from backupexport_contract.backup_export import BackupExport
from backupexport_contract.deliveries import Deliveries
from backupexport_contract.reasons import WITHOUT_FAILURE, DeliveryReason, Phase, Reason
from backupexport_contract.runner_protocol import TASK_REMOVE, TASK_TIDY
from kubernetes.aio.client.exceptions import ApiException
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_logger = logging.getLogger(__name__)

Parameters = ParamSpec("Parameters")

NAMED_PROJECTS = 50
# Names that no reason, and no project, can have.
NONE, OTHER = "(none)", "(other)"

API_STATUS, CONNECTION, TIMEOUT, BUG = "api_status", "connection", "timeout", "bug"
_TASKS = (TASK_TIDY, TASK_REMOVE)
_OUTCOMES = ("succeeded", "failed")

# In seconds, from a run that only looks at memory to a request that times out.
_RECONCILE_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 30)
# In seconds, from an idle operator to an export that waits in the queue all day.
_DELAY_BUCKETS = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    *(60, 300, 1800, 7200, 28800, 86400),
)
_DURATION_BUCKETS = (
    *(1, 2.5, 5, 15, 30, 60, 120, 300, 600, 1200, 1800),
    *(3600, 7200, 14400, 28800, 57600, 86400),
)
# Each four times the one before, from 1 KiB to 1 TiB.
_BYTES_BUCKETS = tuple(4**step * 1024 for step in range(16))


def error_kind(error: BaseException) -> str:
    """Returns the kind of the error that ended a reconcile: the cluster's, or a bug of ours."""
    if isinstance(error, TimeoutError):
        return TIMEOUT
    if isinstance(error, ApiException):
        return API_STATUS
    return CONNECTION if isinstance(error, aiohttp.ClientError | OSError) else BUG


def _harmless(count: Callable[Parameters, None]) -> Callable[Parameters, None]:
    @functools.wraps(count)
    def counted(*args: Parameters.args, **kwargs: Parameters.kwargs) -> None:
        try:
            count(*args, **kwargs)
        except Exception:
            _logger.exception("not counted by %s", count.__name__)

    return counted


@dataclass(frozen=True, slots=True)
class UnfinishedExport:
    """An export that has not ended; `age_seconds` is the time since its creation."""

    phase: Phase
    reason: Reason | None
    age_seconds: float


@dataclass(frozen=True, slots=True)
class OperatorState:
    """What the leader knows at one time.

    `waiting_for_turn` counts the exports that a limit keeps from their Job, `queue_length` the
    keys in the work queue.  `watch_lateness_seconds` are by resource, of what its watch has
    missed; `pending_deliveries` are by kind the seconds since the ends of the exports.
    `pods_on_silent_nodes` counts the pods that their nodes should have ended.  `storages_ready` are
    by name, None where no check could tell.
    """

    exports: Iterable[UnfinishedExport]
    waiting_for_turn: int
    queue_length: int
    watch_lateness_seconds: Mapping[str, float]
    pending_deliveries: Mapping[str, Sequence[float]]
    pods_on_silent_nodes: int = 0
    storages_ready: Mapping[str, bool | None] = field(default_factory=dict)


class OperatorMetrics(Collector):
    """The metrics of one process.

    The first `named_projects` whose exports end after its start have a name; others are `OTHER`.
    """

    def __init__(self, named_projects: int = NAMED_PROJECTS) -> None:
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        counter = functools.partial(Counter, registry=self.registry)
        histogram = functools.partial(Histogram, registry=self.registry)
        self._read_state: Callable[[], OperatorState] | None = None
        self.registry.register(self)
        self._named_projects = named_projects
        self._projects: set[str] = set()
        self._finished = counter(
            "backupexport_exports_finished_total",
            "Exports that ended; the first projects by name, the rest together.",
            ("phase", "reason", "project"),
        )
        self._durations = histogram(
            "backupexport_export_duration_seconds",
            "Time from the start of an export's first attempt to its end.",
            ("phase",),
            buckets=_DURATION_BUCKETS,
        )
        self._bytes = histogram(
            "backupexport_artifact_bytes", "Size of finished files.", buckets=_BYTES_BUCKETS
        )
        self._delays = histogram(
            "backupexport_job_creation_delay_seconds",
            "Time from an export's creation to that of its Job, waiting for its turn included.",
            buckets=_DELAY_BUCKETS,
        )
        self._cleanups = counter(
            "backupexport_cleanup_jobs_total",
            "Jobs that ended of those that remove what exports left on the volume.",
            ("task", "outcome"),
        )
        self._deliveries = counter(
            "backupexport_deliveries_total",
            "Deliveries of exports that ended, well (Succeeded) or not, by kind.",
            ("kind", "reason"),
        )
        self._reconciles = histogram(
            "backupexport_operator_reconcile_duration_seconds",
            "How long reconciles took.",
            buckets=_RECONCILE_BUCKETS,
        )
        self._errors = counter(
            "backupexport_operator_reconcile_errors_total",
            "Reconciles that failed and are tried again, by what ended them.",
            ("kind",),
        )
        self._requests = counter(
            "backupexport_operator_kubernetes_requests_total",
            "Requests to the Kubernetes API, watches aside.",
            ("verb", "resource", "status"),
        )
        self._leader = Gauge(
            "backupexport_operator_leader",
            "1 in the process that acts, 0 in one that stands by.",
            registry=self.registry,
        )
        # Prometheus sees a rise from 0 to 1 only in a series that was there before.
        for kind in (API_STATUS, CONNECTION, TIMEOUT, BUG):
            self._errors.labels(kind)
        for task in _TASKS:
            for outcome in _OUTCOMES:
                self._cleanups.labels(task, outcome)
        for kind in Deliveries.kinds():
            for reason in DeliveryReason:
                if reason not in WITHOUT_FAILURE:
                    self._deliveries.labels(kind, reason)
        self._duration_of = {
            phase: self._durations.labels(phase) for phase in Phase if phase.is_finished
        }

    def tell_of(self, state: Callable[[], OperatorState] | None) -> None:
        """Call `state` at every scrape; None, as at first, while this process doesn't lead."""
        self._read_state = state

    def collect(self) -> Iterator[Metric]:
        """Yields the state's gauges; none if it can't be read, so that all else is told."""
        if self._read_state is None:
            return
        try:
            yield from list(_families(self._read_state()))
        except Exception:
            _logger.exception("the operator's state can't be read")

    @_harmless
    def leads(self, leading: bool) -> None:
        """This process leads from now on, or no longer."""
        self._leader.set(leading)

    @_harmless
    def export_finished(self, export: BackupExport) -> None:
        """Count an export that has just ended; it has no duration if it never started."""
        status, project = export.status, self._project(export.spec.project_id)
        self._finished.labels(export.phase, status.reason or NONE, project).inc()
        if status.start_time and status.completion_time:
            began, ended = map(timestamps.from_text, (status.start_time, status.completion_time))
            self._duration_of[export.phase].observe(max((ended - began).total_seconds(), 0))
        if status.artifact is not None:
            self._bytes.observe(status.artifact.size_bytes)

    @_harmless
    def job_created(self, delay_seconds: float) -> None:
        """Count an export's Job; a negative delay, by clocks that differ, counts as 0."""
        self._delays.observe(max(delay_seconds, 0))

    @_harmless
    def cleanup_finished(self, task: str, *, succeeded: bool) -> None:
        """Count a cleanup's Job that has ended."""
        known = task if task in _TASKS else OTHER
        self._cleanups.labels(known, _OUTCOMES[0] if succeeded else _OUTCOMES[1]).inc()

    @_harmless
    def delivery_finished(self, kind: str, reason: str) -> None:
        """Count a delivery that has ended, well or not."""
        self._deliveries.labels(kind, reason).inc()

    @_harmless
    def reconciled(self, seconds: float, error: BaseException | None = None) -> None:
        """Count a reconcile, and the error that ended it."""
        self._reconciles.observe(seconds)
        if error is not None:
            self._errors.labels(error_kind(error)).inc()

    @_harmless
    def count_request(self, verb: str, resource: str, status: int | None) -> None:
        """Count a request to the Kubernetes API; `status` is None if there was no answer."""
        self._requests.labels(verb, resource, str(status or NONE)).inc()

    def _project(self, project_id: str) -> str:
        if project_id not in self._projects:
            if len(self._projects) >= self._named_projects:
                return OTHER
            self._projects.add(project_id)
        return project_id


def _families(state: OperatorState) -> Iterator[Metric]:
    unfinished = [phase for phase in Phase if not phase.is_finished]
    counts: dict[tuple[str, ...], float] = {(phase, NONE): 0 for phase in unfinished}
    oldest = dict.fromkeys(unfinished, 0.0)
    # The index may still hold an export that has just ended.
    for export in (export for export in state.exports if not export.phase.is_finished):
        key = (export.phase, export.reason or NONE)
        counts[key] = counts.get(key, 0) + 1
        oldest[export.phase] = max(oldest[export.phase], export.age_seconds)
    yield _gauge(
        "backupexport_exports",
        "Exports that have not ended, by phase and by what is in their way.",
        ("phase", "reason"),
        counts,
    )
    yield _gauge(
        "backupexport_oldest_export_age_seconds",
        "Time since the creation of the oldest export that has not ended; 0 where there is none.",
        ("phase",),
        {(phase,): age for phase, age in oldest.items()},
    )
    yield _gauge(
        "backupexport_exports_waiting",
        "Exports without a Job that wait for their turn.",
        (),
        {(): state.waiting_for_turn},
    )
    yield _gauge(
        "backupexport_pods_on_silent_nodes",
        "Pods of exports that their nodes should have ended and have not: exports wait for them.",
        (),
        {(): state.pods_on_silent_nodes},
    )
    yield _gauge(
        "backupexport_storage_ready",
        "Whether the newest check of a storage went well; none where it could not be made.",
        ("storage",),
        {(name,): told for name, told in state.storages_ready.items() if told is not None},
    )
    yield _gauge(
        "backupexport_storage_unchecked",
        "Whether no check of a storage could be made, so that nobody knows whether it works.",
        ("storage",),
        {(name,): told is None for name, told in state.storages_ready.items()},
    )
    yield _gauge(
        "backupexport_operator_queue_length",
        "Resources whose reconcile runs or waits.",
        (),
        {(): state.queue_length},
    )
    yield _gauge(
        "backupexport_operator_watch_lateness_seconds",
        "How long a watch has missed something that a list has; 0 where it is up to date.",
        ("resource",),
        {(resource,): age for resource, age in state.watch_lateness_seconds.items()},
    )
    yield _gauge(
        "backupexport_deliveries_pending",
        "Deliveries of exports that have ended which are still to be made.",
        ("kind",),
        {(kind,): len(ages) for kind, ages in state.pending_deliveries.items()},
    )
    yield _gauge(
        "backupexport_oldest_pending_delivery_age_seconds",
        "Time since the end of the oldest export with a delivery still to be made; 0 without one.",
        ("kind",),
        {(kind,): max(ages, default=0.0) for kind, ages in state.pending_deliveries.items()},
    )


def _gauge(
    name: str, text: str, labels: tuple[str, ...], values: Mapping[tuple[str, ...], float]
) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for label_values, value in values.items():
        family.add_metric(label_values, value)
    return family
