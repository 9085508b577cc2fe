"""What the chart brings so that the operator can have several pods, and can be taken away."""

from pathlib import Path
from typing import Any

import pytest
from backupexport_contract.deliveries import Deliveries
from backupexport_operator.settings import Settings
from rendered_chart import (
    EVERYTHING,
    environment,
    every_combination,
    of_kind,
    render,
    rendered_notes,
)


def spec_of(manifests: list[dict[str, Any]], kind: str, end: str) -> Any:
    (manifest,) = of_kind(manifests, kind, end)
    return manifest["spec"]


def settings_of(manifests: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in environment(manifests, "operator").items():
        if isinstance(value, str):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("BACKUPEXPORT_NAMESPACE", "n")
    return Settings()


@every_combination
def test_the_operator_accepts_what_the_chart_gives_it(
    values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    manifests = render(values)
    settings = settings_of(manifests, monkeypatch)
    lease = values.get("operator", {}).get("lease", {})
    timings = settings.lease_timings
    assert timings.lease == lease.get("seconds", 10)
    assert timings.renew_deadline == lease.get("renewDeadlineSeconds", 7)
    assert timings.retry == lease.get("retrySeconds", 2)
    named = [
        rule["resourceNames"]
        for role in of_kind(manifests, "Role", "-operator")
        for rule in role["rules"]
        if rule["resources"] == ["leases"] and "resourceNames" in rule
    ]
    assert named == [[settings.lease_name]]


def test_deliveries_reach_the_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    deliveries = {
        "email": {"host": "m", "from": "e@example.com", "giveUpSeconds": 86400},
        "telegram": {"secretRef": {"name": "bot"}, "partBytes": 2_000_000_000},
    }
    values = {
        "deliveries": deliveries,
        "publicUrl": "https://exports.example.com",
        "api": {"downloads": {"enabled": True}},
    }
    settings = settings_of(render(values), monkeypatch)
    assert settings.deliveries == Deliveries.model_validate(deliveries)
    assert (settings.public_url, settings.downloads) == (
        "https://exports.example.com",
        frozenset({"default"}),
    )


def test_nobody_is_told_of_downloads_that_are_off(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(render({"api": {"downloads": {"enabled": False}}}), monkeypatch)
    assert (settings.public_url, settings.downloads) == (None, frozenset())
    assert settings.deliveries == Deliveries()


def test_a_rollout_takes_no_pod_away_before_another_can_take_over() -> None:
    spec = spec_of(render(), "Deployment", "-operator")
    assert spec["replicas"] == 2
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    (container,) = spec["template"]["spec"]["containers"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    given = environment(render(), "operator")
    for name in ("name", "uid"):
        told = given[f"BACKUPEXPORT_POD_{name.upper()}"]
        assert told == {"fieldRef": {"fieldPath": f"metadata.{name}"}}


@pytest.mark.parametrize(
    ("operator", "maxima"),
    [
        ({}, [1]),
        ({"podDisruptionBudget": {"maxUnavailable": "50%"}}, ["50%"]),
        ({"podDisruptionBudget": {"enabled": False}}, []),
        ({"replicas": 1}, []),
    ],
)
def test_the_disruption_budget(operator: dict[str, Any], maxima: list[Any]) -> None:
    budgets = of_kind(render({"operator": operator}), "PodDisruptionBudget", "-operator")
    assert [budget["spec"]["maxUnavailable"] for budget in budgets] == maxima


def test_pods_are_spread_over_nodes_unless_told_otherwise() -> None:
    template = spec_of(render(), "Deployment", "-operator")["template"]
    (default,) = template["spec"]["topologySpreadConstraints"]
    labels = template["metadata"]["labels"]
    assert default["labelSelector"]["matchLabels"].items() <= labels.items()
    given = spec_of(render(EVERYTHING), "Deployment", "-operator")["template"]["spec"]
    assert given["topologySpreadConstraints"] == [{"topologyKey": "zone", "maxSkew": 1}]


@every_combination
def test_an_uninstall_leaves_no_finalizer(values: dict[str, Any]) -> None:
    manifests = render(values)
    (job,) = of_kind(manifests, "Job", "-uninstall")
    annotations = job["metadata"]["annotations"]
    assert annotations["helm.sh/hook"] == "pre-delete"
    assert "before-hook-creation" in annotations["helm.sh/hook-delete-policy"]
    pod = job["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    operator = spec_of(manifests, "Deployment", "-operator")
    (original,) = operator["template"]["spec"]["containers"]
    assert container["image"] == original["image"]
    assert container["command"] == [*original["command"], "before-uninstall"]
    assert pod["spec"]["serviceAccountName"] == operator["template"]["spec"]["serviceAccountName"]
    # Or it would count as one of the Deployment's pods.
    assert not operator["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    env = {item["name"]: item.get("value") for item in container["env"]}
    lease = environment(manifests, "operator")["BACKUPEXPORT_LEASE_NAME"]
    assert env["BACKUPEXPORT_LEASE_NAME"] == lease


@pytest.mark.parametrize(
    ("storage", "limits"),
    [
        ({}, (30 * 24 * 3600, None, None, None, "2%")),
        ({"retentionSeconds": 0, "reserve": ""}, (None, None, None, None, "")),
        ({"retentionSeconds": None, "reserve": 0}, (None, None, None, None, "0")),
        (
            {
                "maxBytes": 10**12,
                "maxStoredBytes": 10**13,
                "maxSpoolBytes": 10**14,
                "reserve": 10**10,
            },
            (30 * 24 * 3600, 10**12, 10**13, 10**14, "10000000000"),
        ),
    ],
)
def test_limits_of_room_reach_the_operator(
    storage: dict[str, Any],
    limits: tuple[int | None, int | None, int | None, int | None, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = settings_of(render({"storage": storage}), monkeypatch)
    assert limits == (
        settings.retention_seconds,
        settings.max_bytes,
        settings.max_stored_bytes,
        settings.max_spool_bytes,
        settings.storage_reserve,
    )


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, ""), (0, ""), (3600, "3600 seconds after"), (2592000, "30 days after")],
)
def test_the_notes_say_when_files_go(seconds: int | None, words: str, tmp_path: Path) -> None:
    notes = rendered_notes({"storage": {"retentionSeconds": seconds}}, tmp_path)
    assert ("are removed" in notes) == bool(words)
    assert words in notes
