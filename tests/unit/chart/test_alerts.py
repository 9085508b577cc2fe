"""The alerts, run by Prometheus' own promtool: each fires when it should, and only then."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import promql
import pytest
import yaml
from expositions import api_exposition, operator_exposition
from promtool import run_promtool
from rendered_chart import Manifest, of_kind, render

SCRAPE = 30
NAMESPACE, CLAIM = "n", "r-backupexport-exports"
ENDED = "backupexport_exports_finished"
REQUESTS = "http_request_duration_seconds_count"
LATENESS = "backupexport_operator_watch_lateness_seconds"
# It is compared once a minute; after the second miss the pod restarts, with minutes of back-off.
A_WATCH_DIES = "0 0 60 60 120 _x9"
CRITICAL, WARNING = {"severity": "critical"}, {"severity": "warning"}


def rules() -> list[Manifest]:
    (rule,) = of_kind(render({"metrics": {"prometheusRule": {"enabled": True}}}), "PrometheusRule")
    groups: list[Manifest] = rule["spec"]["groups"]
    return groups


def alerts() -> dict[str, Manifest]:
    return {rule["alert"]: rule for group in rules() for rule in group["rules"] if "alert" in rule}


@dataclass(frozen=True)
class Case:
    """Series (a value for each half minute), when to look, and the labels of what fires then."""

    alert: str
    series: dict[str, str]
    minutes: int
    fires: tuple[dict[str, str], ...] = ()


def name(metric: str, **labels: str) -> str:
    inside = ",".join(f'{key}="{value}"' for key, value in labels.items())
    return f'{metric}{{namespace="{NAMESPACE}",{inside}}}'


def ended(values: str, born: int | None, **labels: str) -> dict[str, str]:
    """A counter of ended exports and the minute it was made in; None: long ago."""
    labels = {"phase": "Failed", "reason": "DumpFailed", "project": "p", "pod": "o", **labels}
    created = "-1000000" if born is None else str(born * 60)
    return {
        name(f"{ENDED}_total", **labels): values,
        # The same samples, each with the one value.
        name(f"{ENDED}_created", **labels): re.sub(
            r"(?<![_\dx])\d+(\+\d+)?x", f"{created}x", values
        ),
    }


def good(values: str, **labels: str) -> dict[str, str]:
    return ended(values, None, phase="Succeeded", reason="(none)", **labels)


HOURS_3 = "x360"
FAILURES = {"namespace": NAMESPACE, "reason": "DumpFailed"}
CASES = {
    "half of the exports fail": Case(
        "BackupExportsFailing",
        {**ended("0x200 0+1x160", None), **good("0x200 0+1x160")},
        180,
        (FAILURES | WARNING,),
    ),
    "the first failures of their kind": Case(
        "BackupExportsFailing", ended("_x300 3x60", 150), 180, (FAILURES | WARNING,)
    ),
    "one failure is no pattern": Case("BackupExportsFailing", ended("_x300 1x60", 150), 180),
    "many failures of many more exports": Case(
        "BackupExportsFailing",
        {**ended("0x200 0+1x160", None), **good("0x200 0+9x160")},
        180,
    ),
    "failures of yesterday": Case("BackupExportsFailing", ended(f"40{HOURS_3}", None), 180),
    "failures that an older process counted": Case(
        "BackupExportsFailing",
        {**ended("40x100 stale", None), **good(f"0+1{HOURS_3}", pod="new")},
        180,
    ),
    "failures elsewhere": Case(
        "BackupExportsFailing",
        {
            key.replace('namespace="n"', 'namespace="m"'): values
            for key, values in ended("0x200 0+1x160", None).items()
        },
        180,
    ),
    "cancelled exports are not failed ones": Case(
        "BackupExportsFailing",
        ended("_x300 9x60", 150, phase="Cancelled", reason="Cancelled"),
        180,
    ),
    "a project's only export failed": Case(
        "BackupExportProjectFailing",
        ended("_x300 1x60", 150),
        180,
        ({"namespace": NAMESPACE, "project": "p"} | WARNING,),
    ),
    "a project's only export failed before the operator's restart": Case(
        "BackupExportProjectFailing",
        ended("_x50 1x60 stale", 25),
        180,
        ({"namespace": NAMESPACE, "project": "p"} | WARNING,),
    ),
    "a project's export failed, then it was good": Case(
        "BackupExportProjectFailing",
        {**ended("_x300 1x60", 150), **good("0x340 1x20")},
        180,
    ),
    "the volume is full": Case(
        "BackupExportStorageFull",
        ended("_x300 1x60", 150, reason="StorageFull"),
        180,
        ({"namespace": NAMESPACE} | CRITICAL,),
    ),
    "the volume is full, says an attempt": Case(
        "BackupExportStorageFull",
        {name("backupexport_exports", phase="Pending", reason="StorageFull"): "0x10 1x10"},
        10,
        ({"namespace": NAMESPACE} | CRITICAL,),
    ),
    "the volume was full two hours ago": Case(
        "BackupExportStorageFull", ended("0x100 1x260", None, reason="StorageFull"), 180
    ),
    "exports fail for another reason": Case(
        "BackupExportStorageFull", ended("0x200 0+1x160", None), 180
    ),
    "little space is left": Case(
        "BackupExportVolumeAlmostFull",
        {
            name(f"kubelet_volume_stats_{what}_bytes", persistentvolumeclaim=CLAIM): f"{value}x60"
            for what, value in {"available": 9, "capacity": 100}.items()
        },
        20,
        ({"namespace": NAMESPACE, "persistentvolumeclaim": CLAIM} | WARNING,),
    ),
    "little space is left on another volume": Case(
        "BackupExportVolumeAlmostFull",
        {
            name(f"kubelet_volume_stats_{what}_bytes", persistentvolumeclaim="x"): f"{value}x60"
            for what, value in {"available": 9, "capacity": 100}.items()
        },
        20,
    ),
    "a storage fails": Case(
        "BackupExportStorageNotReady",
        {
            name("backupexport_storage_ready", storage="a"): "0x60",
            name("backupexport_storage_ready", storage="b"): "1x60",
        },
        16,
        ({"namespace": NAMESPACE, "storage": "a"} | CRITICAL,),
    ),
    "a storage failed once": Case(
        "BackupExportStorageNotReady",
        {name("backupexport_storage_ready", storage="a"): "1x10 0x20 1x30"},
        18,
    ),
    "a storage can't be checked": Case(
        "BackupExportStorageUnchecked",
        {
            name("backupexport_storage_unchecked", storage="a"): "1x60",
            name("backupexport_storage_unchecked", storage="b"): "0x60",
        },
        31,
        ({"namespace": NAMESPACE, "storage": "a"} | WARNING,),
    ),
    "a storage is checked late": Case(
        "BackupExportStorageUnchecked",
        {name("backupexport_storage_unchecked", storage="a"): "1x20 0x40"},
        31,
    ),
    "an export waits for 35 minutes": Case(
        "BackupExportPendingTooLong",
        {name("backupexport_oldest_export_age_seconds", phase="Pending"): "0+30x100"},
        36,
        ({"namespace": NAMESPACE} | WARNING,),
    ),
    "an export runs for 35 minutes": Case(
        "BackupExportPendingTooLong",
        {
            name("backupexport_oldest_export_age_seconds", phase="Running"): "0+30x100",
            name("backupexport_oldest_export_age_seconds", phase="Pending"): "0x100",
        },
        36,
    ),
    "a node is silent": Case(
        "BackupExportNodeSilent",
        {name("backupexport_pods_on_silent_nodes"): "0x3 1x10"},
        4,
        ({"namespace": NAMESPACE} | WARNING,),
    ),
    "a node is back": Case(
        "BackupExportNodeSilent", {name("backupexport_pods_on_silent_nodes"): "0x3 1x4 0x20"}, 8
    ),
    "an image is missing": Case(
        "BackupExportCannotStart",
        {name("backupexport_exports", phase="Pending", reason="ImageUnavailable"): "1x40"},
        11,
        ({"namespace": NAMESPACE, "reason": "ImageUnavailable"} | WARNING,),
    ),
    "an image is missing for a moment": Case(
        "BackupExportCannotStart",
        {
            name("backupexport_exports", phase="Pending", reason="ImageUnavailable"): "1x10 stale",
            name("backupexport_exports", phase="Pending", reason="(none)"): "5x40",
        },
        11,
    ),
    "a cleanup failed": Case(
        "BackupExportCleanupFailing",
        {name("backupexport_cleanup_jobs_total", task="tidy", outcome="failed"): "0x10 1x60"},
        30,
        ({"namespace": NAMESPACE, "task": "tidy"} | WARNING,),
    ),
    "cleanups went well": Case(
        "BackupExportCleanupFailing",
        {
            name("backupexport_cleanup_jobs_total", task="tidy", outcome="failed"): "3x70",
            name("backupexport_cleanup_jobs_total", task="tidy", outcome="succeeded"): "0+1x70",
        },
        30,
    ),
    "a delivery was given up": Case(
        "BackupExportDeliveryFailing",
        {name("backupexport_deliveries_total", kind="email", reason="Refused"): "0x10 1x60"},
        30,
        ({"namespace": NAMESPACE, "kind": "email", "reason": "Refused"} | WARNING,),
    ),
    "deliveries went well": Case(
        "BackupExportDeliveryFailing",
        {
            name("backupexport_deliveries_total", kind="email", reason="Refused"): "3x70",
            name("backupexport_deliveries_total", kind="email", reason="Succeeded"): "0+1x70",
        },
        30,
    ),
    "nobody set up a mail server": Case(
        "BackupExportDeliveryFailing",
        {name("backupexport_deliveries_total", kind="email", reason="NotConfigured"): "0x10 1x60"},
        30,
    ),
    "a delivery is pending for long": Case(
        "BackupExportDeliveryPendingTooLong",
        {name("backupexport_oldest_pending_delivery_age_seconds", kind="email"): "3500+60x30"},
        20,
        ({"namespace": NAMESPACE, "kind": "email"} | WARNING,),
    ),
    "a delivery is pending for a while": Case(
        "BackupExportDeliveryPendingTooLong",
        {name("backupexport_oldest_pending_delivery_age_seconds", kind="email"): "0+60x40"},
        30,
    ),
    "no operator at all": Case(
        "BackupExportNoLeader", {}, 3, ({"namespace": NAMESPACE} | CRITICAL,)
    ),
    "two operators stand by": Case(
        "BackupExportNoLeader",
        {name("backupexport_operator_leader", pod=pod): "0x20" for pod in "ab"},
        3,
        ({"namespace": NAMESPACE} | CRITICAL,),
    ),
    "one leads and one stands by": Case(
        "BackupExportNoLeader",
        {
            name("backupexport_operator_leader", pod="a"): "0x20",
            name("backupexport_operator_leader", pod="b"): "1x20",
        },
        3,
    ),
    "a change of leaders": Case(
        "BackupExportNoLeader",
        {
            name("backupexport_operator_leader", pod="a"): "1x10 stale",
            name("backupexport_operator_leader", pod="b"): "0x12 1x8",
        },
        6,
    ),
    "two lead": Case(
        "BackupExportTwoLeaders",
        {name("backupexport_operator_leader", pod=pod): "1x20" for pod in "ab"},
        3,
        ({"namespace": NAMESPACE} | CRITICAL,),
    ),
    "two lead, by a scrape that is behind": Case(
        "BackupExportTwoLeaders",
        {
            name("backupexport_operator_leader", pod="a"): "1x13 0x20",
            name("backupexport_operator_leader", pod="b"): "0x10 1x20",
        },
        6,
    ),
    "one leads elsewhere": Case(
        "BackupExportTwoLeaders",
        {
            'backupexport_operator_leader{namespace="m"}': "1x20",
            name("backupexport_operator_leader", pod="a"): "1x20",
        },
        6,
    ),
    "a bug": Case(
        "BackupExportOperatorBug",
        {name("backupexport_operator_reconcile_errors_total", kind="bug"): "0x10 1x60"},
        10,
        ({"namespace": NAMESPACE} | WARNING,),
    ),
    "a bug of an hour ago": Case(
        "BackupExportOperatorBug",
        {
            name("backupexport_operator_reconcile_errors_total", kind="bug"): "1x100",
            name("backupexport_operator_reconcile_errors_total", kind="timeout"): "0+9x100",
        },
        30,
    ),
    "the Kubernetes API refuses": Case(
        "BackupExportReconcileErrors",
        {name("backupexport_operator_reconcile_errors_total", kind="api_status"): "0+9x60"},
        20,
        ({"namespace": NAMESPACE, "kind": "api_status"} | WARNING,),
    ),
    "a conflict now and then": Case(
        "BackupExportReconcileErrors",
        {name("backupexport_operator_reconcile_errors_total", kind="api_status"): "0+1x60"},
        20,
    ),
    "watches that die again and again": Case(
        "BackupExportWatchStale",
        {name(LATENESS, resource="jobs"): " ".join([A_WATCH_DIES] * 6)},
        30,
        ({"namespace": NAMESPACE, "resource": "jobs"} | CRITICAL,),
    ),
    "a watch that died once": Case(
        "BackupExportWatchStale", {name(LATENESS, resource="jobs"): f"{A_WATCH_DIES} 0x60"}, 11
    ),
    "a watch that died once, long ago": Case(
        "BackupExportWatchStale", {name(LATENESS, resource="jobs"): f"{A_WATCH_DIES} 0x60"}, 20
    ),
    "no API": Case("BackupExportApiDown", {}, 6, ({"namespace": NAMESPACE} | CRITICAL,)),
    "an API without a cache": Case(
        "BackupExportApiDown",
        {name("backupexport_cache_synced", pod="a", resource="backupexports"): "0x20"},
        6,
        ({"namespace": NAMESPACE} | CRITICAL,),
    ),
    "one API of two serves": Case(
        "BackupExportApiDown",
        {
            name("backupexport_cache_synced", pod="a", resource="backupexports"): "1x20",
            name("backupexport_cache_synced", pod="b", resource="backupexports"): "0x20",
        },
        6,
    ),
    "a tenth of the answers are errors": Case(
        "BackupExportApiErrors",
        {
            name(REQUESTS, route="/api/jobs", status="200"): "0+9x60",
            name(REQUESTS, route="/api/jobs", status="503"): "0+1x60",
        },
        20,
        ({"namespace": NAMESPACE} | WARNING,),
    ),
    "probes fail while a pod starts": Case(
        "BackupExportApiErrors",
        {
            name(REQUESTS, route="/api/jobs", status="200"): "0+9x60",
            name(REQUESTS, route="/api/jobs", status="429"): "0+9x60",
            name(REQUESTS, route="/readyz", status="503"): "0+9x60",
        },
        20,
    ),
    "downloads are turned off, which is no error": Case(
        "BackupExportApiErrors",
        {name(REQUESTS, route="/api/jobs/{job_id}/download", status="501"): "0+9x60"},
        20,
    ),
    "an old cache": Case(
        "BackupExportApiCacheStale",
        {name("backupexport_cache_age_seconds", pod="a", resource="exporttargets"): "0+30x60"},
        16,
        ({"namespace": NAMESPACE, "pod": "a", "resource": "exporttargets"} | WARNING,),
    ),
    "a cache that was refilled": Case(
        "BackupExportApiCacheStale",
        {
            name(
                "backupexport_cache_age_seconds", pod="a", resource="exporttargets"
            ): "0+30x20 0+1x40"
        },
        16,
    ),
}


def write(path: Path, content: Any) -> None:
    path.write_text(yaml.safe_dump(content), encoding="utf-8")


def write_rules(path: Path) -> Path:
    """Without annotations, which a test would have to repeat."""
    groups = rules()
    for group in groups:
        for rule in group["rules"]:
            rule.pop("annotations", None)
    write(path / "rules.yaml", {"groups": groups})
    return path / "rules.yaml"


def promtool_test(case: str) -> Manifest:
    series, fires = CASES[case].series, CASES[case].fires
    return {
        "name": case,
        "interval": f"{SCRAPE}s",
        "input_series": [{"series": key, "values": values} for key, values in series.items()],
        "alert_rule_test": [
            {
                "alertname": CASES[case].alert,
                "eval_time": f"{CASES[case].minutes}m",
                "exp_alerts": [{"exp_labels": labels} for labels in fires],
            }
        ],
    }


@pytest.mark.parametrize("alert", sorted({case.alert for case in CASES.values()}))
def test_an_alert_fires_when_it_should(alert: str, tmp_path: Path) -> None:
    write_rules(tmp_path)
    tests = [promtool_test(name) for name, case in CASES.items() if case.alert == alert]
    write(
        tmp_path / "test.yaml",
        {"rule_files": ["rules.yaml"], "evaluation_interval": f"{SCRAPE}s", "tests": tests},
    )
    done = run_promtool("test", "rules", tmp_path / "test.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_seen_firing_and_silent() -> None:
    known = alerts().keys()
    assert {case.alert for case in CASES.values() if case.fires} == known
    assert {case.alert for case in CASES.values() if not case.fires} == known


def test_the_rules_are_rules(tmp_path: Path) -> None:
    write(tmp_path / "rules.yaml", {"groups": rules()})
    done = run_promtool("check", "rules", tmp_path / "rules.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("exposition", [operator_exposition, api_exposition])
def test_the_metrics_are_named_as_prometheus_asks_for(exposition: Any) -> None:
    done = run_promtool("check", "metrics", text=exposition())
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_says_what_to_do_and_how_bad_it_is() -> None:
    for alert, rule in alerts().items():
        assert rule["annotations"].keys() == {"summary", "description", "runbook"}, alert
        assert rule["labels"]["severity"] in ("critical", "warning"), alert
        for text in rule["annotations"].values():
            assert "\n" not in text.strip(), alert
            assert "@" not in text, alert
            named = set(re.findall(r"\$labels\.(\w+)", text))
            # A label that an expression doesn't keep would be nothing.
            assert named <= promql.grouped_by(rule["expr"]) | rule["labels"].keys() | {
                matcher.label for matcher in promql.matchers(rule["expr"]) if matcher.how == "="
            }, alert
