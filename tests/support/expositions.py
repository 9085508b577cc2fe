"""What Prometheus reads, with every metric in it at least once."""

from datetime import timedelta
from typing import Any, cast

import builders
from backupexport_api.jobs.store import JobStore
from backupexport_api.kube.informer import CacheState
from backupexport_api.telemetry.metrics import Metrics
from backupexport_contract import timestamps
from backupexport_contract.backup_export import BackupExport
from backupexport_contract.reasons import Phase, Reason
from backupexport_operator.kube.client import call_of
from backupexport_operator.telemetry.metrics import OperatorMetrics, OperatorState, UnfinishedExport
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

JOBS_PATH = "/apis/batch/v1/namespaces/n/jobs"


def series(registry: CollectorRegistry) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample of the exposition text under its name and labels, as Prometheus parses it."""
    text = generate_latest(registry).decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    """One sample, or None where there is none."""
    return series(registry).get((name, frozenset(labels.items())))


def state() -> OperatorState:
    return OperatorState(
        exports=[
            UnfinishedExport(Phase.PENDING, Reason.IMAGE_UNAVAILABLE, 60.0),
            UnfinishedExport(Phase.PENDING, None, 90.5),
            UnfinishedExport(Phase.RUNNING, None, 7.0),
        ],
        waiting_for_turn=1,
        queue_length=3,
        watch_lateness_seconds={"backupexports": 1.5, "jobs": 61.0},
        pending_deliveries={
            "email": [1.0, 90.5],
            "telegram": [],
        },
        pods_on_silent_nodes=2,
        storages_ready={"default": True, "bucket": False, "unseen": None},
    )


def ended(
    project_id: Any,
    phase: Phase,
    reason: Reason | None = None,
    *,
    seconds: float | None = None,
    size: int | None = None,
) -> BackupExport:
    """An export that has just ended, of any project id, `seconds` after its start if it had one."""
    status: dict[str, Any] = {"phase": phase, "reason": reason}
    if seconds is not None:
        began = timestamps.from_text("2026-01-29T15:30:00Z")
        status["startTime"] = timestamps.to_text(began)
        status["completionTime"] = timestamps.to_text(began + timedelta(seconds=seconds))
    if size is not None:
        texts = ("path", "sha256", "serverVersion", "dumpVersion", "displaySize")
        status["artifact"] = dict.fromkeys(texts, "") | {"sizeBytes": size, "uncompressedBytes": 0}
    return of_project(builders.export(status=status), project_id)


def of_project(export: BackupExport, project_id: Any) -> BackupExport:
    """The same of another project, of an id that need not be one."""
    spec = export.spec.model_copy(update={"project_id": project_id})
    return export.model_copy(update={"spec": spec})


def busy_operator() -> OperatorMetrics:
    """A leader that has done everything once."""
    metrics = OperatorMetrics()
    metrics.leads(leading=True)
    metrics.tell_of(state)
    metrics.job_created(0.02)
    metrics.export_finished(ended("proj-1", Phase.SUCCEEDED, seconds=42, size=2**30))
    metrics.export_finished(ended("proj-1", Phase.FAILED, Reason.STORAGE_FULL, seconds=3))
    metrics.cleanup_finished("tidy", succeeded=True)
    metrics.delivery_finished("email", "Succeeded")
    metrics.reconciled(0.004)
    metrics.count_request(*call_of("POST", JOBS_PATH), 201)
    return metrics


class _Store:
    """As much of a JobStore as a scrape asks."""

    def count_by_phase(self) -> dict[Phase, int]:
        return {Phase.PENDING: 1}

    def cache_states(self) -> list[CacheState]:
        return [CacheState("backupexports", is_synced=True, age_seconds=1.0)]


def operator_exposition() -> str:
    return generate_latest(busy_operator().registry).decode()


def api_exposition() -> str:
    metrics = Metrics()
    metrics.watch(cast("JobStore", _Store()))
    metrics.observe_request("POST", "/api/backup/export", 202, 0.01)
    metrics.observe_call("create", "created", 0.01)
    metrics.count_refusal("export")
    return metrics.exposition().decode()
