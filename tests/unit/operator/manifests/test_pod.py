"""What a template of the chart's may say of a Job's pod, and what it can't change."""

from typing import Any

import builders
import pytest
from backupexport_contract import timestamps
from backupexport_contract.backup_export import BackupExport
from backupexport_contract.deliveries import Deliveries
from backupexport_contract.export_target import ExportTarget
from backupexport_operator.manifests.jobs import (
    cleanup_manifest,
    delivery_manifest,
    job_manifest,
    removal_manifest,
)
from backupexport_operator.manifests.pod import (
    OUR_CONTAINER_FIELDS,
    OUR_POD_FIELDS,
    TASK_RESOURCES,
    JobSettings,
    PodTemplate,
    RunnerPods,
)
from backupexport_operator.observed.observation import Observation
from kubernetes.aio.client import V1Job

LABELS = {
    "app.kubernetes.io/component": "mine", "app.kubernetes.io/part-of": "mine",
    "app.kubernetes.io/managed-by": "mine", "backupexport.dev/export-uid": "another",
    "backupexport.dev/task": "another", "backupexport.dev/job-id": "another",
}  # fmt: skip
TOKEN = {"serviceAccountToken": {"path": "token"}}
ROOT = {"runAsUser": 0, "runAsNonRoot": False, "privileged": True}
POD_FIELDS: dict[str, Any] = {
    "automountServiceAccountToken": True,
    "enableServiceLinks": True,
    "ephemeralContainers": [{"name": "shell"}],
    "hostIPC": True,
    "hostNetwork": True,
    "hostPID": True,
    "initContainers": [{"name": "first", "image": "i"}],
    "restartPolicy": "OnFailure",
    "volumes": [{"name": "exports", "projected": {"sources": [TOKEN]}}],
}
POD_SECURITY: dict[str, Any] = {
    "appArmorProfile": {"type": "Unconfined"},
    "fsGroup": 0,
    "runAsGroup": 0,
    "runAsNonRoot": False,
    "runAsUser": 0,
    "seccompProfile": {"type": "Localhost", "localhostProfile": "p"},
    "sysctls": [{"name": "kernel.shm_rmid_forced", "value": "0"}],
    "windowsOptions": {"hostProcess": True},
}
CONTAINER_FIELDS: dict[str, Any] = {
    "args": ["--help"],
    "command": ["sh"],
    "env": [{"name": "EXPORT_TASK", "value": "remove-artifact"}],
    "envFrom": [{"secretRef": {"name": "another"}}],
    "image": "another",
    "lifecycle": {"postStart": {"exec": {"command": ["sh"]}}},
    "livenessProbe": {"exec": {"command": ["false"]}},
    "ports": [{"containerPort": 80, "hostPort": 80}],
    "readinessProbe": {"exec": {"command": ["false"]}},
    "restartPolicy": "Always",
    "restartPolicyRules": [{"action": "Restart"}],
    "securityContext": ROOT,
    "startupProbe": {"exec": {"command": ["false"]}},
    "terminationMessagePath": "/elsewhere",
    "terminationMessagePolicy": "FallbackToLogsOnError",
    "volumeDevices": [{"name": "exports", "devicePath": "/dev/x"}],
    "volumeMounts": [{"name": "exports", "mountPath": "/everything"}],
    "workingDir": "/tmp",
}


def container(**fields: Any) -> PodTemplate:
    return {"spec": {"containers": [{"name": "runner", **fields}]}}


def jobs(
    template: PodTemplate | None = None,
    tasks: PodTemplate | None = None,
    resources: dict[str, Any] | None = None,
) -> dict[str, dict[str, Any]]:
    """One Job of each kind, with `resources` of the target's."""
    defaults = JobSettings(
        namespace="n",
        runner_image="i",
        storages=builders.STORAGES,
        release="r",
        runner_pods=RunnerPods(all=template or {}, tasks=tasks or {}),
    )
    metadata = {"name": "a", "uid": "u", "creationTimestamp": "2026-01-29T15:30:00Z"}
    export = BackupExport.model_validate({"metadata": metadata, "spec": {"projectId": "a"}})
    spec = {"projectId": "a", "secretRef": {"name": "s"}, "resources": resources}
    target = ExportTarget.model_validate({"metadata": {"name": "t"}, "spec": spec})
    mail = {"email": {"host": "mail", "from": "exports@example.com"}}
    settings = Deliveries.model_validate(mail).settings_of("email")
    assert settings
    now = timestamps.from_text(export.created_at)
    seen = Observation(export=export, target=target, job=None, pods=(), now=now, backoff_limit=4)
    made = {
        "export": job_manifest(export, target, defaults, builders.PLACE),
        "cleanup": cleanup_manifest(export, "clean-attempt", defaults, builders.PLACE),
        "removal": removal_manifest([export], builders.PLACE, defaults),
        "delivery": delivery_manifest(seen, "email", settings, defaults),
    }
    for job in made.values():
        V1Job.model_validate(job)
    return made


def pods(*templates: Any, **resources: Any) -> dict[str, Any]:
    return {
        what: job["spec"]["template"]["spec"] for what, job in jobs(*templates, **resources).items()
    }


def resources_of(*templates: Any, **resources: Any) -> list[Any]:
    return [pod["containers"][0]["resources"] for pod in pods(*templates, **resources).values()]


OURS: dict[str, PodTemplate] = {
    **{name: {"spec": {name: value}} for name, value in POD_FIELDS.items()},
    **{
        f"securityContext.{name}": {"spec": {"securityContext": {name: value}}}
        for name, value in POD_SECURITY.items()
    },
    **{f"runner.{name}": container(**{name: value}) for name, value in CONTAINER_FIELDS.items()},
    **{name: {"metadata": {"labels": {name: value}}} for name, value in LABELS.items()},
    "name": {"metadata": {"name": "mine"}},
    "finalizers": {"metadata": {"finalizers": ["mine/stay"]}},
}


@pytest.mark.parametrize("template", OURS.values(), ids=OURS)
def test_what_a_template_cannot_change(template: PodTemplate) -> None:
    plain = jobs()
    assert jobs(template) == plain
    # Neither can what the small Jobs have in its place.
    assert jobs(None, template) == plain


def test_each_of_these_fields_is_tried() -> None:
    assert POD_FIELDS.keys() == OUR_POD_FIELDS
    assert CONTAINER_FIELDS.keys() == OUR_CONTAINER_FIELDS


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dnsConfig", {"nameservers": ["10.0.0.10"]}),
        ("runtimeClassName", "gvisor"),
        ("schedulerName", "mine"),
        ("serviceAccountName", "mine"),
        ("terminationGracePeriodSeconds", 60),
        ("topologySpreadConstraints", [{"maxSkew": 1, "topologyKey": "zone",
                                        "whenUnsatisfiable": "ScheduleAnyway"}]),
        ("hostUsers", False),
        ("resources", {"limits": {"memory": "1Gi"}}),
    ],
)  # fmt: skip
def test_any_other_field_reaches_every_pod(name: str, value: Any) -> None:
    for pod, plain in zip(pods({"spec": {name: value}}).values(), pods().values(), strict=True):
        assert pod == plain | {name: value}


def test_a_field_of_the_container_reaches_every_pod() -> None:
    for pod in pods(container(imagePullPolicy="Always", tty=True)).values():
        assert pod["containers"][0]["imagePullPolicy"] == "Always"
        assert pod["containers"][0]["tty"] is True


def test_the_security_context_is_ours_but_for_what_volumes_need() -> None:
    given = {
        "fsGroupChangePolicy": "Always",
        "supplementalGroups": [3000],
        "seLinuxOptions": {"level": "s0:c1,c2"},
    }
    plain = pods()["export"]["securityContext"]
    for pod in pods({"spec": {"securityContext": given}}).values():
        assert pod["securityContext"] == plain | given


def test_a_label_may_have_a_field_s_name() -> None:
    template = jobs({"metadata": {"labels": {"containers": "x"}}}, {})["export"]["spec"]["template"]
    assert template["metadata"]["labels"]["containers"] == "x"
    template = jobs({"spec": {"nodeSelector": {"containers": "x"}}}, {})["export"]["spec"][
        "template"
    ]
    assert template["spec"]["nodeSelector"] == {"containers": "x"}


def test_objects_are_merged_lists_replaced_and_null_removes() -> None:
    below = {
        "metadata": {"labels": {"a": "1", "b": "1"}, "annotations": {"a": "1"}},
        "spec": {"nodeSelector": {"a": "1", "b": "1"}, "tolerations": [{"key": "a"}]},
    }
    above = {
        "metadata": {"labels": {"b": "2"}, "annotations": None},
        "spec": {
            "nodeSelector": {"b": None, "c": "2"},
            "tolerations": [{"key": "b"}],
            "terminationGracePeriodSeconds": None,
        },
    }
    template = jobs(below, above)["cleanup"]["spec"]["template"]
    assert template["metadata"]["labels"].items() >= {"a": "1", "b": "2"}.items()
    assert "annotations" not in template["metadata"]
    assert template["spec"]["nodeSelector"] == {"a": "1", "c": "2"}
    assert template["spec"]["tolerations"] == [{"key": "b"}]
    assert "terminationGracePeriodSeconds" not in template["spec"]
    assert jobs(below, above)["export"] == jobs(below)["export"]


CHARTS = {"requests": {"memory": "100Mi"}}
TASKS = {"limits": {"cpu": 1}}
TARGETS = {"limits": {"memory": "50Mi"}}


@pytest.mark.parametrize(
    ("template", "tasks", "target", "expected"),
    [
        ({}, {}, None, [{}, TASK_RESOURCES]),
        (container(resources=CHARTS), {}, None, [CHARTS, TASK_RESOURCES]),
        (container(resources=CHARTS), container(resources=TASKS), None,
         [CHARTS, {"limits": {"cpu": "1"}}]),
        # Whole, or the chart's request would be more than the target's limit.
        (container(resources=CHARTS), {}, TARGETS, [TARGETS, TASK_RESOURCES]),
        (container(resources=CHARTS), {}, {}, [CHARTS, TASK_RESOURCES]),
    ],
)  # fmt: skip
def test_whose_resources_a_container_has(
    template: PodTemplate, tasks: PodTemplate, target: Any, expected: list[Any]
) -> None:
    export, cleanup, removal, delivery = resources_of(template, tasks, resources=target)
    assert removal == cleanup
    assert [export, cleanup] == expected
    assert delivery == cleanup


def test_no_template_is_changed_by_a_job() -> None:
    template = container(resources=CHARTS)
    template["metadata"] = {"labels": {"a": "1"}}
    before = repr(template)
    first = jobs(template)
    assert repr(template) == before
    assert jobs(template) == first
    assert jobs() == jobs()
