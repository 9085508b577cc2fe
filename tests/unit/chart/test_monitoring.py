"""Dashboard and alerts name what there is, and the chart installs them where they are found."""

import json
import re
from functools import cache
from typing import Any

import promql
import pytest
from backupexport_contract.reasons import DeliveryReason, Phase, Reason
from expositions import api_exposition, operator_exposition
from prometheus_client.parser import text_string_to_metric_families
from rendered_chart import CHART, EVERYTHING, Manifest, of_kind, render, template

DASHBOARD = CHART / "dashboards" / "backupexport.json"
# What Prometheus and the kubelet add to what our processes tell.
SURROUNDINGS = {
    "kubelet_volume_stats_available_bytes": {"persistentvolumeclaim"},
    "kubelet_volume_stats_capacity_bytes": {"persistentvolumeclaim"},
}
TARGET_LABELS = {"namespace", "pod"}
OF_THE_RUNTIME = ("python_", "process_")
WINDOWS = {"$__rate_interval": "5m", "$__range_s": "3600", "$__range": "1h", "$__to": "0"}
METRICS = {
    "serviceMonitor": {"enabled": True},
    "prometheusRule": {"enabled": True},
    "dashboard": {"enabled": True},
}


@cache
def exposed() -> dict[str, dict[str, set[str]]]:
    """Every sample that api and operator tell, with its labels and their values."""
    found: dict[str, dict[str, set[str]]] = {}
    for text in (operator_exposition(), api_exposition()):
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = found.setdefault(sample.name, {})
                for label, value in sample.labels.items():
                    labels.setdefault(label, set()).add(value)
    return found


def dashboard() -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return parsed


def panels() -> list[dict[str, Any]]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def shown() -> list[str]:
    """The dashboard's expressions, as Grafana sends them."""
    texts = [target["expr"] for panel in panels() for target in panel["targets"]]
    for variable, value in WINDOWS.items():
        texts = [text.replace(variable, value) for text in texts]
    return texts


@cache
def installed() -> list[Manifest]:
    return render({"metrics": METRICS})


def rules() -> list[Manifest]:
    (rule,) = of_kind(installed(), "PrometheusRule")
    return [rule for group in rule["spec"]["groups"] for rule in group["rules"]]


def recorded() -> dict[str, set[str]]:
    """What the rules themselves make, with its labels."""
    return {rule["record"]: promql.grouped_by(rule["expr"]) for rule in rules() if "record" in rule}


def known_labels(metric: str) -> set[str]:
    if metric in recorded():
        return recorded()[metric]
    if metric in SURROUNDINGS:
        return SURROUNDINGS[metric] | TARGET_LABELS
    return set(exposed()[metric]) | TARGET_LABELS


def check_names(expression: str) -> None:
    metrics = promql.metrics(expression)
    assert metrics, expression
    assert metrics <= exposed().keys() | SURROUNDINGS.keys() | recorded().keys(), expression
    for matcher in promql.matchers(expression):
        assert matcher.label in known_labels(matcher.metric), expression
        check_value(matcher)
    for label in promql.grouped_by(expression):
        assert any(label in known_labels(metric) for metric in metrics), (label, expression)


def check_value(matcher: promql.Matcher) -> None:
    """A value that nobody ever sets makes an alert that never fires."""
    possible = {"phase": set(Phase), "reason": {*Reason, *DeliveryReason, "(none)"}}.get(
        matcher.label
    )
    if matcher.label in ("kind", "outcome", "task"):
        possible = exposed()[matcher.metric][matcher.label]
    if possible is not None:
        values = matcher.text.split("|") if "~" in matcher.how else [matcher.text]
        assert set(values) <= possible, matcher


def test_the_dashboard_shows_what_there_is() -> None:
    for expression in shown():
        check_names(expression)


def test_the_alerts_rest_on_what_there_is() -> None:
    for rule in rules():
        check_names(rule["expr"])


@pytest.mark.parametrize("exposition", [operator_exposition, api_exposition])
def test_every_metric_of_ours_is_shown_or_watched(exposition: Any) -> None:
    used = {
        name for text in [*shown(), *(r["expr"] for r in rules())] for name in promql.metrics(text)
    }
    for family in text_string_to_metric_families(exposition()):
        if not family.name.startswith(OF_THE_RUNTIME) and not family.name.endswith("_created"):
            assert used & {sample.name for sample in family.samples}, family.name


@pytest.mark.parametrize(
    ("expression", "metrics"),
    [
        ('sum by (a) (x_total{l="y{z}"}) / on (b) group_left () w', {"x_total", "w"}),
        ("histogram_quantile(0.5, sum by (le, r) (rate(h_bucket[5m])))", {"h_bucket"}),
        ("a:b:c > time() - 3600 and last_over_time(d[1h]) offset 1h", {"a:b:c", "d"}),
        ('absent(a{n="m"} == 1) or topk(10, c unless e)', {"a", "c", "e"}),
        ("1.5e3 < 2", set()),
    ],
)
def test_the_names_in_an_expression(expression: str, metrics: set[str]) -> None:
    assert promql.metrics(expression) == metrics


def test_every_panel_says_what_it_shows_where_and_from_which_source() -> None:
    ids = [panel["id"] for panel in dashboard()["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in panels():
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]
        sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
        assert {source["uid"] for source in sources} == {"${datasource}"}
        for target in panel["targets"]:
            assert 'namespace="$namespace"' in target["expr"], panel["title"]
    variables = {item["name"]: item for item in dashboard()["templating"]["list"]}
    assert variables.keys() == {"datasource", "namespace"}
    (metric,) = re.findall(
        r"label_values\((\w+), namespace\)", variables["namespace"]["definition"]
    )
    assert metric in exposed()


def test_no_two_panels_lie_on_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells


def test_the_dashboard_is_found_by_grafana_s_sidecar() -> None:
    (found,) = of_kind(installed(), "ConfigMap", "-dashboard")
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(found["data"]["backupexport.json"]) == dashboard()
    (given,) = of_kind(render(EVERYTHING), "ConfigMap", "-dashboard")
    assert given["metadata"]["annotations"]["grafana_folder"] == "Data"


def test_nothing_of_it_is_there_unless_asked_for() -> None:
    kinds = {manifest["kind"] for manifest in render()}
    assert not kinds & {"ServiceMonitor", "PrometheusRule", "ConfigMap"}


@pytest.mark.parametrize(("component", "name"), [("api", "api-metrics"), ("operator", "operator")])
def test_prometheus_finds_each_pod(component: str, name: str) -> None:
    port, target = "metrics", "health"
    manifests = installed()
    (monitor,) = of_kind(manifests, "ServiceMonitor", f"-{component}")
    chosen = [
        service
        for service in of_kind(manifests, "Service")
        if monitor["spec"]["selector"]["matchLabels"].items()
        <= service["metadata"]["labels"].items()
    ]
    (service,) = chosen
    assert service["metadata"]["name"] == f"r-backupexport-{name}"
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint == {"port": port, "path": "/metrics", "interval": "30s"}
    (exposed_port,) = [p for p in service["spec"]["ports"] if p["name"] == port]
    assert exposed_port["targetPort"] == target
    (pods,) = [
        deployment["spec"]["template"]
        for deployment in of_kind(manifests, "Deployment")
        if service["spec"]["selector"].items()
        <= deployment["spec"]["template"]["metadata"]["labels"].items()
    ]
    assert target in [p["name"] for p in pods["spec"]["containers"][0]["ports"]]
    assert monitor["metadata"]["namespace"] == "n"


def test_who_may_read_the_operator_s_metrics() -> None:
    (everybody,) = of_kind(render(), "NetworkPolicy", "-operator")
    (given,) = of_kind(render(EVERYTHING), "NetworkPolicy", "-operator")
    assert everybody["spec"]["ingress"] == [{"ports": [{"port": "health"}]}]
    assert given["spec"]["ingress"] == [
        {"ports": [{"port": "health"}], "from": [{"namespaceSelector": {}}]}
    ]


def test_rules_of_the_user() -> None:
    (rule,) = of_kind(render(EVERYTHING), "PrometheusRule")
    assert rule["metadata"]["labels"]["release"] == "prometheus"
    groups = {group["name"]: group["rules"] for group in rule["spec"]["groups"]}
    assert groups.pop("backupexport-additional") == [{"alert": "Mine", "expr": "vector(1)"}]
    alerts = {r["alert"]: r for group in groups.values() for r in group if "alert" in r}
    assert "BackupExportApiErrors" not in alerts
    assert "BackupExportApiDown" in alerts
    assert {alert["labels"]["team"] for alert in alerts.values()} == {"data"}
    assert alerts["BackupExportPendingTooLong"]["expr"].strip().endswith("> 7200")


def test_the_rules_name_this_release() -> None:
    (rule,) = of_kind(render({"metrics": METRICS}, release="prod"), "PrometheusRule")
    text = json.dumps(rule)
    assert 'namespace=\\"n\\"' in text
    assert "deploy/prod-backupexport-operator" in text
    assert 'persistentvolumeclaim=\\"prod-backupexport-exports\\"' in text
    assert not re.search(r"@[A-Z_]+@", text)


def test_an_alert_to_leave_out_has_to_be_there() -> None:
    rule = {"enabled": True, "disabled": ["BackupExportTypo"]}
    done = template({"metrics": {"prometheusRule": rule}})
    assert done.returncode != 0
    assert "there is no alert BackupExportTypo; there are BackupExportsFailing," in done.stderr


def test_every_alert_can_be_left_out() -> None:
    names = [rule["alert"] for rule in rules() if "alert" in rule]
    values = {"enabled": True, "disabled": names}
    (rule,) = of_kind(render({"metrics": {"prometheusRule": values}}), "PrometheusRule")
    assert [r for group in rule["spec"]["groups"] for r in group["rules"] if "alert" in r] == []
