"""What the chart says about the operator's Jobs, down to the Jobs themselves."""

from typing import Any

import pytest
from backupexport_contract import timestamps
from backupexport_contract.backup_export import BackupExport
from backupexport_contract.deliveries import Deliveries
from backupexport_contract.export_target import ExportTarget
from backupexport_operator.manifests.cleanup_job import cleanup_manifest
from backupexport_operator.manifests.delivery_job import PublicApi, delivery_manifest
from backupexport_operator.manifests.export_job import job_manifest
from backupexport_operator.manifests.pod import TASK_RESOURCES, RunnerDefaults
from backupexport_operator.observed.observation import Observation
from backupexport_operator.settings import Settings
from kubernetes.client import V1Job
from rendered_chart import Manifest, environment, of_kind, render

INSTANCE = "app.kubernetes.io/instance"
AFFINITY = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
    "nodeSelectorTerms": [{"matchExpressions": [{"key": "disk", "operator": "Exists"}]}]
}}}  # fmt: skip
VALUES: Manifest = {
    "commonLabels": {"cost": "c1"},
    "runner": {
        "podLabels": {"sidecar.istio.io/inject": "false", "app.kubernetes.io/component": "mine"},
        "podAnnotations": {"wind": "west"},
        "affinity": AFFINITY,
        "priorityClassName": "low",
        "nodeSelector": {"disk": "ssd"},
        "taskResources": {"limits": {"cpu": 1, "memory": "64Mi"}},
    },
}


def defaults_of(values: Manifest, monkeypatch: pytest.MonkeyPatch) -> RunnerDefaults:
    with monkeypatch.context() as patch:
        for name, value in environment(render(values), "operator").items():
            if isinstance(value, str):
                patch.setenv(name, value)
        patch.setenv("BACKUPEXPORT_NAMESPACE", "n")
        return Settings().runner_defaults


def jobs(defaults: RunnerDefaults) -> dict[str, Manifest]:
    """One of each kind that the operator makes."""
    metadata = {
        "name": "a",
        "namespace": "n",
        "uid": "u",
        "creationTimestamp": "2026-01-29T15:30:00Z",
    }
    export = BackupExport.model_validate({"metadata": metadata, "spec": {"projectId": "a"}})
    target = ExportTarget.model_validate(
        {"metadata": {"name": "t"}, "spec": {"projectId": "a", "secretRef": {"name": "s"}}}
    )
    deliveries = Deliveries.model_validate({"telegram": {"secretRef": {"name": "bot"}}})
    settings = deliveries.settings_of("telegram")
    assert settings
    now = timestamps.from_text(export.created_at)
    seen = Observation(export=export, target=target, job=None, pods=(), now=now, backoff_limit=4)
    return {
        "export": job_manifest(export, target, defaults),
        "cleanup": cleanup_manifest(export, "clean-attempt", defaults),
        "cleanup of what is gone": cleanup_manifest(
            export, "remove-artifact", defaults, is_owned=False
        ),
        "delivery": delivery_manifest(seen, "telegram", settings, defaults, PublicApi()),
    }


@pytest.fixture(name="defaults")
def _defaults(monkeypatch: pytest.MonkeyPatch) -> RunnerDefaults:
    return defaults_of(VALUES, monkeypatch)


@pytest.fixture(name="plain")
def _plain(monkeypatch: pytest.MonkeyPatch) -> RunnerDefaults:
    return defaults_of({}, monkeypatch)


def pods(defaults: RunnerDefaults) -> dict[str, Any]:
    return {what: job["spec"]["template"] for what, job in jobs(defaults).items()}


def test_every_pod_has_the_labels_and_annotations(defaults: RunnerDefaults) -> None:
    for job in jobs(defaults).values():
        V1Job.model_validate(job)
    for pod in pods(defaults).values():
        labels = pod["metadata"]["labels"]
        assert labels["sidecar.istio.io/inject"] == "false"
        assert labels["cost"] == "c1"
        # By these the operator and the network policy find them.
        assert labels["app.kubernetes.io/component"] == "runner"
        assert labels["backupexport.dev/export-uid"] == "u"
        assert pod["metadata"]["annotations"] == {"wind": "west"}


def test_every_pod_is_placed_as_told(defaults: RunnerDefaults) -> None:
    for pod in pods(defaults).values():
        assert pod["spec"]["affinity"] == AFFINITY
        assert pod["spec"]["priorityClassName"] == "low"
        assert pod["spec"]["nodeSelector"] == {"disk": "ssd"}


def test_the_check_of_the_storage_is_such_a_pod() -> None:
    (job,) = of_kind(render(VALUES), "Job", "")[:1]
    pod = job["spec"]["template"]
    assert pod["metadata"]["labels"]["app.kubernetes.io/component"] == "storage-check"
    assert pod["metadata"]["labels"]["sidecar.istio.io/inject"] == "false"
    assert pod["metadata"]["annotations"] == {"wind": "west"}
    assert pod["spec"]["affinity"] == AFFINITY
    assert pod["spec"]["priorityClassName"] == "low"
    assert pod["spec"]["nodeSelector"] == {"disk": "ssd"}


def test_without_values_there_is_nothing_of_it(plain: RunnerDefaults) -> None:
    for pod in pods(plain).values():
        assert "annotations" not in pod["metadata"]
        assert pod["spec"].keys().isdisjoint({"affinity", "priorityClassName", "nodeSelector"})


def test_jobs_and_pods_are_found_by_their_release(plain: RunnerDefaults) -> None:
    for what, job in jobs(plain).items():
        assert job["spec"]["template"]["metadata"]["labels"][INSTANCE] == "r"
        # Argo CD would delete an object of its own that nobody owns and no manifest has.
        expected = None if what == "cleanup of what is gone" else "r"
        assert job["metadata"]["labels"].get(INSTANCE) == expected


def test_no_selector_of_the_chart_finds_a_runner_by_its_release(plain: RunnerDefaults) -> None:
    manifests = render()
    selectors = [
        (manifest["kind"], manifest["metadata"]["name"], labels)
        for manifest in manifests
        for spec in (manifest.get("spec", {}),)
        for labels in (
            spec.get("selector", {}).get("matchLabels"),
            spec.get("podSelector", {}).get("matchLabels"),
            spec.get("selector") if manifest["kind"] == "Service" else None,
        )
        if labels
    ]
    assert len(selectors) >= 8
    for pod in pods(plain).values():
        found = [s for s in selectors if s[2].items() <= pod["metadata"]["labels"].items()]
        assert [(kind, name) for kind, name, _ in found] == [
            ("NetworkPolicy", "r-backupexport-runner")
        ]


def test_the_resources_of_small_jobs(defaults: RunnerDefaults, plain: RunnerDefaults) -> None:
    def of(given: RunnerDefaults) -> dict[str, Any]:
        return {
            what: pod["spec"]["containers"][0]["resources"] for what, pod in pods(given).items()
        }

    for what, resources in of(defaults).items():
        if what != "export":
            assert resources["limits"] == {"cpu": "1", "memory": "64Mi"}, what
    assert of(defaults)["export"] == of(plain)["export"] != TASK_RESOURCES
    assert [of(plain)[what] for what in ("cleanup", "delivery")] == [TASK_RESOURCES] * 2


def test_small_jobs_have_resources_without_a_chart(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = defaults_of(
        {"runner": {"taskResources": {"requests": None, "limits": None}}}, monkeypatch
    )
    assert plain.task_resources == TASK_RESOURCES
