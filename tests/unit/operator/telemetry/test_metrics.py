"""What Prometheus reads from the operator, and what it never reads."""

import gc
import logging
import tracemalloc
from typing import Any

import aiohttp
import pytest
from backupexport_contract.reasons import Phase, Reason
from backupexport_operator.kube.client import call_of
from backupexport_operator.telemetry import metrics as module
from backupexport_operator.telemetry.metrics import (
    OTHER,
    OperatorMetrics,
    OperatorState,
    UnfinishedExport,
    error_kind,
)
from expositions import JOBS_PATH, busy_operator, ended, of_project, series, value
from kubernetes.aio.client.exceptions import ApiException
from prometheus_client import generate_latest

FINISHED = "backupexport_exports_finished_total"
HOSTILE = [
    '"} 1\nup 0\n',
    "\\",
    "\n",
    "a" * 100,
    "--help",
    "__name__",
    "{{ $value }}",
    "\x00",
    "é",
    "",
]


def test_exports_now() -> None:
    registry = busy_operator().registry
    exports = "backupexport_exports"
    assert value(registry, exports, phase="Pending", reason="ImageUnavailable") == 1
    assert value(registry, exports, phase="Pending", reason="(none)") == 1
    assert value(registry, exports, phase="Running", reason="(none)") == 1
    age = "backupexport_oldest_export_age_seconds"
    assert value(registry, age, phase="Pending") == 90.5
    assert value(registry, age, phase="Running") == 7
    assert value(registry, "backupexport_exports_waiting") == 1
    assert value(registry, "backupexport_operator_queue_length") == 3
    assert value(registry, "backupexport_pods_on_silent_nodes") == 2
    assert value(registry, "backupexport_storage_ready", storage="default") == 1
    assert value(registry, "backupexport_storage_ready", storage="bucket") == 0
    assert value(registry, "backupexport_storage_ready", storage="unseen") is None
    unchecked = "backupexport_storage_unchecked"
    assert value(registry, unchecked, storage="unseen") == 1
    assert value(registry, unchecked, storage="bucket") == 0
    assert value(registry, "backupexport_operator_watch_lateness_seconds", resource="jobs") == 61
    assert value(registry, "backupexport_deliveries_pending", kind="email") == 2


def test_deliveries_by_kind_and_outcome() -> None:
    registry, name = busy_operator().registry, "backupexport_deliveries_total"
    assert value(registry, name, kind="email", reason="Succeeded") == 1
    assert value(registry, name, kind="telegram", reason="Refused") == 0


def test_the_state_is_read_at_each_scrape() -> None:
    metrics = OperatorMetrics()
    now: list[UnfinishedExport] = []
    metrics.tell_of(lambda: OperatorState(now, 0, 0, {}, {}))
    exports, age = "backupexport_exports", "backupexport_oldest_export_age_seconds"
    for phase in ("Pending", "Running"):
        assert value(metrics.registry, exports, phase=phase, reason="(none)") == 0
        assert value(metrics.registry, age, phase=phase) == 0
    now.append(UnfinishedExport(Phase.RUNNING, None, 5))
    assert value(metrics.registry, exports, phase="Running", reason="(none)") == 1
    now.append(UnfinishedExport(Phase.SUCCEEDED, None, 9))
    assert value(metrics.registry, exports, phase="Succeeded", reason="(none)") is None
    assert value(metrics.registry, exports, phase="Running", reason="(none)") == 1


def test_a_process_that_stands_by_tells_of_no_export() -> None:
    metrics = busy_operator()
    metrics.leads(leading=False)
    metrics.tell_of(None)
    names = {name for name, _ in series(metrics.registry)}
    assert not names & {"backupexport_exports", "backupexport_exports_waiting"}
    assert value(metrics.registry, "backupexport_operator_leader") == 0
    assert value(OperatorMetrics().registry, "backupexport_operator_leader") == 0
    assert value(busy_operator().registry, "backupexport_operator_leader") == 1


def test_an_ended_export() -> None:
    registry = busy_operator().registry
    assert value(registry, FINISHED, phase="Succeeded", reason="(none)", project="proj-1") == 1
    assert value(registry, FINISHED, phase="Failed", reason="StorageFull", project="proj-1") == 1
    duration = "backupexport_export_duration_seconds"
    assert value(registry, f"{duration}_sum", phase="Succeeded") == 42
    assert value(registry, f"{duration}_bucket", phase="Succeeded", le="30.0") == 0
    assert value(registry, f"{duration}_bucket", phase="Succeeded", le="60.0") == 1
    assert value(registry, f"{duration}_bucket", phase="Succeeded", le="86400.0") == 1
    assert value(registry, f"{duration}_count", phase="Cancelled") == 0
    size = "backupexport_artifact_bytes"
    assert value(registry, f"{size}_count") == 1
    assert value(registry, f"{size}_bucket", le="2.68435456e+08") == 0
    assert value(registry, f"{size}_bucket", le="1.073741824e+09") == 1
    assert value(registry, f"{size}_bucket", le="1.099511627776e+12") == 1


def test_an_export_that_never_started_has_no_duration() -> None:
    metrics = OperatorMetrics()
    metrics.export_finished(ended("a", Phase.FAILED, Reason.TARGET_NOT_FOUND))
    metrics.export_finished(ended("a", Phase.CANCELLED, Reason.CANCELLED, seconds=-2))
    name = "backupexport_export_duration_seconds"
    assert value(metrics.registry, f"{name}_count", phase="Failed") == 0
    assert value(metrics.registry, f"{name}_sum", phase="Cancelled") == 0


def test_the_time_to_the_job_has_fine_buckets() -> None:
    metrics = OperatorMetrics()
    for delay in (-1, 0.004, 0.02, 40_000):
        metrics.job_created(delay)
    name = "backupexport_job_creation_delay_seconds"
    counts = {le: value(metrics.registry, f"{name}_bucket", le=le) for le in ("0.005", "0.025")}
    assert counts == {"0.005": 2, "0.025": 3}
    assert value(metrics.registry, f"{name}_bucket", le="86400.0") == 4


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ApiException(status=409), "api_status"),
        (TimeoutError(), "timeout"),
        (aiohttp.ServerTimeoutError(), "timeout"),
        (aiohttp.ClientPayloadError(), "connection"),
        (ConnectionResetError(), "connection"),
        (KeyError("a"), "bug"),
        (ValueError(), "bug"),
    ],
)
def test_errors_by_kind(error: Exception, kind: str) -> None:
    assert error_kind(error) == kind
    metrics = OperatorMetrics()
    name = "backupexport_operator_reconcile_errors_total"
    kinds = ("api_status", "connection", "timeout", "bug")
    assert {value(metrics.registry, name, kind=k) for k in kinds} == {0}
    metrics.reconciled(0.1, error)
    assert {k: value(metrics.registry, name, kind=k) for k in kinds} == {
        k: float(k == kind) for k in kinds
    }
    assert value(metrics.registry, "backupexport_operator_reconcile_duration_seconds_count") == 1


def test_cleanups() -> None:
    metrics = OperatorMetrics()
    name = "backupexport_cleanup_jobs_total"
    assert value(metrics.registry, name, task="remove", outcome="failed") == 0
    metrics.cleanup_finished("remove", succeeded=False)
    metrics.cleanup_finished("tidy", succeeded=True)
    metrics.cleanup_finished('"}', succeeded=True)
    assert value(metrics.registry, name, task="remove", outcome="failed") == 1
    assert value(metrics.registry, name, task="tidy", outcome="succeeded") == 1
    assert value(metrics.registry, name, task=OTHER, outcome="succeeded") == 1


def test_requests_to_the_kubernetes_api() -> None:
    metrics = OperatorMetrics()
    for status in (201, 201, 409, None):
        metrics.count_request(*call_of("POST", JOBS_PATH), status)
    name = "backupexport_operator_kubernetes_requests_total"
    seen = {
        status: value(metrics.registry, name, verb="create", resource="jobs", status=status)
        for status in ("201", "409", "(none)")
    }
    assert seen == {"201": 2, "409": 1, "(none)": 1}


@pytest.mark.parametrize("project", HOSTILE)
def test_a_project_id_stays_inside_its_label(project: str) -> None:
    metrics = OperatorMetrics()
    before = series(metrics.registry).keys()
    metrics.export_finished(ended(project, Phase.FAILED, Reason.INTERNAL))
    added = series(metrics.registry).keys() - before
    labels = frozenset({"phase": "Failed", "reason": "Internal", "project": project}.items())
    assert {(name, found) for name, found in added if not name.endswith("_created")} == {
        (FINISHED, labels)
    }


def test_the_first_projects_keep_their_names_and_the_rest_are_one() -> None:
    metrics = OperatorMetrics(named_projects=2)
    # A project may have the name "other".
    for project in ("a", "other", "c", "d", "a", "other", "c"):
        metrics.export_finished(ended(project, Phase.SUCCEEDED))
    seen = {
        project: value(
            metrics.registry, FINISHED, phase="Succeeded", reason="(none)", project=project
        )
        for project in ("a", "other", "c", "d", OTHER)
    }
    assert seen == {"a": 2, "other": 2, "c": None, "d": None, OTHER: 3}


def test_no_project_has_a_name_where_none_may() -> None:
    metrics = OperatorMetrics(named_projects=0)
    metrics.export_finished(ended("secret-customer", Phase.SUCCEEDED))
    assert "secret-customer" not in generate_latest(metrics.registry).decode()


def test_a_flood_of_projects_makes_no_more_series_and_takes_no_memory() -> None:
    metrics = OperatorMetrics(named_projects=5)
    ends = [(Phase.SUCCEEDED, None), (Phase.CANCELLED, Reason.CANCELLED)]
    ends += [(Phase.FAILED, reason) for reason in Reason]

    exports = [
        ended("", phase, reason, seconds=8**power, size=8**power)
        for phase, reason in ends
        for power in range(5)
    ]

    def flood(first: int, last: int) -> None:
        for number in range(first, last):
            metrics.export_finished(of_project(exports[number % len(exports)], f"{number}\n"))
            metrics.count_request(*call_of("GET", f"/api/v1/namespaces/n/{number}/{number}"), 200)
            metrics.cleanup_finished(f"{number}", succeeded=False)

    for number in range(5):
        for phase, reason in ends:
            metrics.export_finished(ended(f"{number}\n", phase, reason))
    flood(5, 200)
    count = len(series(metrics.registry))
    gc.collect()
    tracemalloc.start()
    flood(200, 20_000)
    gc.collect()
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(series(metrics.registry)) == count
    named = [1 for name, _ in series(metrics.registry) if name == FINISHED]
    assert len(named) == len(ends) * (5 + 1)
    assert grown < 50_000


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("export_finished", (ended(["unhashable"], Phase.FAILED, Reason.INTERNAL),)),
        ("job_created", (None,)),
        ("reconciled", ("soon",)),
        ("count_request", ()),
        ("leads", (object(),)),
        ("cleanup_finished", ()),
    ],
)
def test_counting_never_fails_for_the_caller(
    method: str, arguments: tuple[Any, ...], caplog: pytest.LogCaptureFixture
) -> None:
    metrics = OperatorMetrics()
    with caplog.at_level(logging.ERROR, logger=module.__name__):
        getattr(metrics, method)(*arguments)
    assert method in caplog.text
    generate_latest(metrics.registry)


def test_a_state_that_can_t_be_read_leaves_the_rest(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> OperatorState:
        raise RuntimeError("dictionary changed size during iteration")

    metrics = busy_operator()
    metrics.tell_of(broken)
    assert value(metrics.registry, "backupexport_operator_leader") == 1
    assert "dictionary changed size" in caplog.text


def test_two_processes_count_apart() -> None:
    one, other = busy_operator(), OperatorMetrics()
    assert value(one.registry, "backupexport_operator_leader") == 1
    assert value(other.registry, "backupexport_operator_leader") == 0
