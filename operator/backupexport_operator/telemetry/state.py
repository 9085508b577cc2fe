"""Gauges of what the leader knows; they are computed when Prometheus asks."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from backupexport_contract.reasons import Phase, Reason
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_logger = logging.getLogger(__name__)

# A name that no reason has.
NONE = "(none)"


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
    keys in the work queue.  `watch_lateness_seconds` tells by resource how long its watch has
    missed something; `pending_deliveries` tells by kind how many seconds ago the export of each
    delivery ended that is still to be made.
    """

    exports: Iterable[UnfinishedExport]
    waiting_for_turn: int
    queue_length: int
    watch_lateness_seconds: Mapping[str, float]
    pending_deliveries: Mapping[str, Sequence[float]]


class StateCollector(Collector):
    """Calls `read` when Prometheus asks; a process that doesn't lead has None and no gauges."""

    def __init__(self) -> None:
        self.read: Callable[[], OperatorState] | None = None

    def collect(self) -> Iterator[Metric]:
        """Yields the gauges; none if `read` raises, so that all other metrics are told."""
        if self.read is None:
            return
        try:
            yield from list(_families(self.read()))
        except Exception:
            _logger.exception("the operator's state can't be read")


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
