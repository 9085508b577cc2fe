"""What the chart says about the operator's Jobs, down to the Jobs themselves."""

from typing import Any

import pytest
from backupexport_contract import timestamps
from backupexport_contract.backup_export import BackupExport
from backupexport_contract.deliveries import Deliveries
from backupexport_contract.export_target import ExportTarget
from backupexport_operator.manifests.jobs import (
    cleanup_manifest,
    delivery_manifest,
    job_manifest,
    storage_check_manifest,
)
from backupexport_operator.manifests.pod import (
    OUR_CONTAINER_FIELDS,
    OUR_POD_FIELDS,
    SECURITY_FIELDS_LEFT_OPEN,
    TASK_RESOURCES,
    JobSettings,
)
from backupexport_operator.observed.observation import Observation
from backupexport_operator.observed.places import Place, place_of
from backupexport_operator.settings import Settings
from kubernetes.client import V1Job
from rendered_chart import EVERYTHING, Manifest, environment, of_kind, render, template

INSTANCE = "app.kubernetes.io/instance"
AFFINITY = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
    "nodeSelectorTerms": [{"matchExpressions": [{"key": "disk", "operator": "Exists"}]}]
}}}  # fmt: skip
SPARED = {
    "karpenter.sh/do-not-disrupt": "true",
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
}
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


def defaults_of(values: Manifest, monkeypatch: pytest.MonkeyPatch) -> JobSettings:
    with monkeypatch.context() as patch:
        for name, value in environment(render(values), "operator").items():
            if isinstance(value, str):
                patch.setenv(name, value)
        patch.setenv("BACKUPEXPORT_NAMESPACE", "n")
        return Settings()


def jobs(defaults: JobSettings) -> dict[str, Manifest]:
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
    place = place_of("default", defaults.storages)
    assert place is not None
    return {
        "export": job_manifest(export, target, defaults, place),
        "cleanup": cleanup_manifest(export, "clean-attempt", defaults, place),
        "cleanup of what is gone": cleanup_manifest(
            export, "remove-artifact", defaults, place, is_owned=False
        ),
        "delivery": delivery_manifest(seen, "telegram", settings, defaults),
    }


@pytest.fixture(name="defaults")
def _defaults(monkeypatch: pytest.MonkeyPatch) -> JobSettings:
    return defaults_of(VALUES, monkeypatch)


@pytest.fixture(name="plain")
def _plain(monkeypatch: pytest.MonkeyPatch) -> JobSettings:
    return defaults_of({}, monkeypatch)


def pods(defaults: JobSettings) -> dict[str, Any]:
    return {what: job["spec"]["template"] for what, job in jobs(defaults).items()}


def test_every_pod_has_the_labels_and_annotations(defaults: JobSettings) -> None:
    for job in jobs(defaults).values():
        V1Job.model_validate(job)
    for what, pod in pods(defaults).items():
        labels = pod["metadata"]["labels"]
        assert labels["sidecar.istio.io/inject"] == "false"
        assert labels["cost"] == "c1"
        # By these the operator and the network policy find them.
        assert labels["app.kubernetes.io/component"] == "runner"
        assert labels["backupexport.dev/export-uid"] == "u"
        spared = SPARED if what == "export" else {}
        assert pod["metadata"]["annotations"] == {"wind": "west", **spared}


def test_only_exports_are_spared_from_evictions(
    plain: JobSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    annotations = {
        what: pod["metadata"].get("annotations", {}) for what, pod in pods(plain).items()
    }
    assert annotations.pop("export") == SPARED
    assert not any(annotations.values())
    off = pods(defaults_of({"runner": {"spareFromEviction": False}}, monkeypatch))
    assert not any("annotations" in pod["metadata"] for pod in off.values())
    # Who says something else of one of them is obeyed.
    chosen = {"podAnnotations": {"karpenter.sh/do-not-disrupt": "false"}}
    pod = pods(defaults_of({"runner": chosen}, monkeypatch))["export"]
    assert pod["metadata"]["annotations"] == SPARED | chosen["podAnnotations"]


def test_every_pod_is_placed_as_told(defaults: JobSettings) -> None:
    for pod in pods(defaults).values():
        assert pod["spec"]["affinity"] == AFFINITY
        assert pod["spec"]["priorityClassName"] == "low"
        assert pod["spec"]["nodeSelector"] == {"disk": "ssd"}


def test_the_check_of_a_storage_is_such_a_pod(defaults: JobSettings) -> None:
    job = check_of(defaults)
    V1Job.model_validate(job)
    pod = job["spec"]["template"]
    assert pod["metadata"]["labels"]["app.kubernetes.io/component"] == "runner"
    assert pod["metadata"]["labels"]["sidecar.istio.io/inject"] == "false"
    assert pod["metadata"]["annotations"] == {"wind": "west"}
    assert pod["spec"]["affinity"] == AFFINITY
    assert pod["spec"]["priorityClassName"] == "low"
    assert pod["spec"]["nodeSelector"] == {"disk": "ssd"}


def test_the_chart_s_own_volume_is_told_beside_another_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Old files are there."""
    bucket: Manifest = {"storages": {"default": {"s3": {"bucket": "exports"}}}}
    assert (
        defaults_of({"storage": {"existingClaim": "old"}, **bucket}, monkeypatch).chart_claim
        == "old"
    )
    assert defaults_of({"storage": {"enabled": False}, **bucket}, monkeypatch).chart_claim == ""


def test_another_storage_check_is_another_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Job's template can't be changed."""
    all_values: tuple[Manifest, ...] = (
        {},
        {"runner": {"image": {"tag": "2"}}},
        {"runner": {"nodeSelector": {"a": "b"}}},
        {"storage": {"existingClaim": "mine"}},
        {"storages": {"default": {"s3": {"bucket": "exports"}}}},
        {"storages": {"default": {"s3": {"bucket": "exports"}, "secretRef": {"name": "a"}}}},
        {"storages": {"default": {"s3": {"bucket": "exports", "region": "eu"}}}},
    )
    made = [check_of(defaults_of(values, monkeypatch)) for values in all_values]
    assert len({job["metadata"]["name"] for job in made}) == len(made)
    assert made[0] == check_of(defaults_of({}, monkeypatch))
    # Values that no pod has change nothing.
    same = check_of(defaults_of({"storage": {"retentionSeconds": 60}}, monkeypatch))
    assert same["metadata"]["name"] == made[0]["metadata"]["name"]


def test_storages_are_checked_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    for check in (True, False):
        defaults = defaults_of({"storage": {"check": check}}, monkeypatch)
        assert isinstance(defaults, Settings)
        assert defaults.storage_checks is check


def test_without_values_there_is_nothing_of_it(plain: JobSettings) -> None:
    for pod in pods(plain).values():
        assert pod["metadata"].get("annotations", {}).items() <= SPARED.items()
        assert pod["spec"].keys().isdisjoint({"affinity", "priorityClassName", "nodeSelector"})


def test_jobs_and_pods_are_found_by_their_release(plain: JobSettings) -> None:
    for what, job in jobs(plain).items():
        assert job["spec"]["template"]["metadata"]["labels"][INSTANCE] == "r"
        # Argo CD would delete an object of its own that nobody owns and no manifest has.
        expected = None if what == "cleanup of what is gone" else "r"
        assert job["metadata"]["labels"].get(INSTANCE) == expected


def test_no_selector_of_the_chart_finds_a_runner_by_its_release(plain: JobSettings) -> None:
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


def test_the_resources_of_small_jobs(defaults: JobSettings, plain: JobSettings) -> None:
    def of(given: JobSettings) -> dict[str, Any]:
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
    of_tasks = pods(plain)
    assert of_tasks["cleanup"]["spec"]["containers"][0]["resources"] == TASK_RESOURCES
    assert of_tasks["delivery"]["spec"]["containers"][0]["resources"] == TASK_RESOURCES


def settings_in(pod: Manifest) -> Manifest:
    """What the values say of a pod, among what the operator says."""
    (container,) = pod["spec"]["containers"]
    return {name: value for name, value in pod["spec"].items() if name not in OUR_POD_FIELDS} | {
        "securityContext": None,
        "containers": {
            name: value for name, value in container.items() if name not in OUR_CONTAINER_FIELDS
        },
    }


OF_EVERYTHING: Manifest = {
    "serviceAccountName": "r-backupexport-runner",
    "terminationGracePeriodSeconds": 15,
    "imagePullSecrets": [{"name": "registry"}],
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"effect": "NoExecute", "operator": "Exists", "tolerationSeconds": 2592000}],
    "affinity": {"podAntiAffinity": {}},
    "priorityClassName": "low",
    "securityContext": None,
    "containers": {
        "name": "runner",
        "imagePullPolicy": "IfNotPresent",
        "resources": {
            "requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "1Gi"},
        },
    },
}  # fmt: skip
OF_NOTHING: Manifest = {
    "serviceAccountName": "r-backupexport-runner",
    "terminationGracePeriodSeconds": 15,
    "securityContext": None,
    "containers": {
        "name": "runner",
        "imagePullPolicy": "IfNotPresent",
        "resources": {
            "requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "512Mi"},
        },
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("values", "expected", "of_tasks"),
    [
        ({}, OF_NOTHING, TASK_RESOURCES),
        (
            {"runner": {"image": {"pullPolicy": "Always"}}},
            OF_NOTHING | {"containers": OF_NOTHING["containers"] | {"imagePullPolicy": "Always"}},
            TASK_RESOURCES,
        ),
        (
            EVERYTHING,
            OF_EVERYTHING,
            TASK_RESOURCES | {"limits": {"cpu": "100m", "memory": "192Mi"}},
        ),
    ],
    ids=["defaults", "another pull policy", "everything"],
)
def test_what_the_values_make_of_a_pod(
    values: Manifest, expected: Manifest, of_tasks: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    for what, pod in pods(defaults_of(values, monkeypatch)).items():
        container = expected["containers"]
        if what != "export":
            container = container | {"resources": of_tasks}
        assert settings_in(pod) == expected | {"containers": container}, what


def of_template(**spec: Any) -> Manifest:
    return {"runner": {"podTemplate": {"spec": spec}}}


def with_check(values: Manifest, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The pods of exports' Jobs, and of those that check storages."""
    defaults = defaults_of(values, monkeypatch)
    return pods(defaults) | {"check": check_of(defaults)["spec"]["template"]}


def check_of(defaults: JobSettings) -> Manifest:
    return storage_check_manifest(Place("default", defaults.storages["default"].root), defaults)


def test_values_that_are_null_or_of_an_older_chart_render(monkeypatch: pytest.MonkeyPatch) -> None:
    # As `helm upgrade --reuse-values` leaves them, or somebody who wants no limits at all.
    values: Manifest = {
        "runner": {
            "podTemplate": None,
            "resources": None,
            "image": {"pullPolicy": None},
            "spool": None,
        },
        "storages": None,
        "storage": {"enabled": None},
    }
    assert of_kind(render(values), "PersistentVolumeClaim")
    for what, pod in with_check(values, monkeypatch).items():
        (container,) = pod["spec"]["containers"]
        assert container.get("imagePullPolicy", "IfNotPresent") == "IfNotPresent", what
    export = pods(defaults_of(values, monkeypatch))["export"]
    assert export["spec"]["containers"][0]["resources"] == {}


def test_a_new_field_of_the_pods_is_a_line_of_values(monkeypatch: pytest.MonkeyPatch) -> None:
    values = of_template(
        dnsConfig={"nameservers": ["10.0.0.10"]},
        runtimeClassName="gvisor",
        terminationGracePeriodSeconds=40,
        securityContext={"supplementalGroups": [3000]},
    )
    for what, pod in with_check(values, monkeypatch).items():
        spec = pod["spec"]
        assert spec["dnsConfig"] == {"nameservers": ["10.0.0.10"]}, what
        assert spec["runtimeClassName"] == "gvisor"
        assert spec["terminationGracePeriodSeconds"] == 40
        assert spec["securityContext"]["supplementalGroups"] == [3000]
        assert spec["securityContext"]["runAsNonRoot"] is True


def test_the_template_wins_over_the_other_values(monkeypatch: pytest.MonkeyPatch) -> None:
    container = {
        "name": "runner",
        "imagePullPolicy": "Always",
        "resources": {"limits": {"memory": "2Gi"}},
    }
    values: Manifest = {
        **EVERYTHING,
        "runner": {
            **EVERYTHING["runner"],
            "podTemplate": {
                "metadata": {
                    "labels": {"color": "red", "app.kubernetes.io/component": "mine"},
                    "annotations": {"wind": "south"},
                },
                "spec": {
                    "nodeSelector": {"zone": "b"},
                    "tolerations": [{"key": "mine"}],
                    "imagePullSecrets": [{"name": "mine"}],
                    "priorityClassName": "mine",
                    "containers": [container],
                },
            },
        },
    }
    for what, pod in with_check(values, monkeypatch).items():
        labels, spec = pod["metadata"]["labels"], pod["spec"]
        assert (labels["color"], labels["team"]) == ("red", "data"), what
        assert labels["app.kubernetes.io/component"] == "runner"
        spared = SPARED if what == "export" else {}
        assert pod["metadata"]["annotations"] == {"wind": "south", **spared}
        assert spec["nodeSelector"] == {"disk": "ssd", "zone": "b"}
        assert spec["tolerations"] == [{"key": "mine"}]
        assert spec["imagePullSecrets"] == [{"name": "mine"}]
        assert spec["priorityClassName"] == "mine"
        (only,) = spec["containers"]
        assert only["imagePullPolicy"] == "Always"
        assert only["name"] == "runner"
        memory = "2Gi" if what == "export" else "192Mi"
        assert only["resources"]["limits"]["memory"] == memory


REFUSED: dict[str, tuple[Manifest, str]] = {
    "root": (of_template(securityContext={"runAsUser": 0}), "'runAsUser' not allowed"),
    "a sidecar": (of_template(containers=[{"name": "proxy"}]), "must be 'runner'"),
    "two": (of_template(containers=[{"name": "runner"}] * 2), "maxItems"),
    "a name": ({"runner": {"podTemplate": {"metadata": {"name": "a"}}}}, "'name' not allowed"),
    "no template": ({"runner": {"podTemplate": {"nodeSelector": {}}}}, "'nodeSelector' not all"),
}


@pytest.mark.parametrize(("values", "message"), REFUSED.values(), ids=REFUSED)
def test_the_chart_refuses_what_is_no_template(values: Manifest, message: str) -> None:
    done = template(values)
    assert done.returncode != 0
    assert "at '/runner/podTemplate" in done.stderr
    assert message in done.stderr


def test_the_chart_refuses_what_the_operator_would_not_heed() -> None:
    container = dict.fromkeys(OUR_CONTAINER_FIELDS, "x") | {"name": "runner"}
    done = template(of_template(**dict.fromkeys(OUR_POD_FIELDS, "x"), containers=[container]))
    assert done.returncode != 0
    places = OUR_POD_FIELDS | {f"containers/0/{name}" for name in OUR_CONTAINER_FIELDS}
    said = [f"at '/runner/podTemplate/spec/{place}': false schema" for place in places]
    assert [line for line in said if line not in done.stderr] == []


def test_the_chart_leaves_open_what_the_operator_does() -> None:
    given = {"fsGroupChangePolicy": "Always", "supplementalGroups": [1], "seLinuxOptions": {}}
    assert given.keys() == SECURITY_FIELDS_LEFT_OPEN
    assert template(of_template(securityContext=given)).returncode == 0
