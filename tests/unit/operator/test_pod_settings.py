"""The operator stops at its start where a pod's settings are none, and says where."""

import json
from typing import Any

import pytest
from backupexport_operator.settings import Settings
from backupexport_runtime.settings_errors import SETTINGS_ERRORS, complaints

STORAGES = '{"default": {"volume": {"claim": "c"}}}'
GIVEN = {"NAMESPACE": "n", "RUNNER_IMAGE": "i", "STORAGES": STORAGES}


def settings(monkeypatch: pytest.MonkeyPatch, runner_pods: Any) -> Settings:
    for name, value in (GIVEN | {"RUNNER_PODS": json.dumps(runner_pods)}).items():
        monkeypatch.setenv(f"BACKUPEXPORT_{name}", value)
    return Settings()


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ({"spec": {"nodeselector": {"a": "hunter2"}}}, "spec.nodeselector: Extra inputs are not"),
        ({"spec": {"nodeSelector": {"a": 2}}}, "spec.nodeSelector.a: Input should be a valid str"),
        ({"spec": {"tolerations": [{"kye": "a"}]}}, "spec.tolerations.0.kye: Extra inputs are not"),
        ({"spec": {"tolerations": {}}}, "spec.tolerations: Input should be a valid list"),
        ({"spec": {"containers": None}}, "spec.containers: Input should be a valid list"),
        ({"spec": {"containers": [{"resources": {}}]}}, "spec.containers.0.name: Field required"),
        ({"spec": {"containers": [{"name": "proxy"}]}}, "spec.containers: the only container is"),
        ({"spec": {"containers": [{"name": "runner", "resources": {"limit": {}}}]}},
         "spec.containers.0.resources.limit: Extra inputs"),
        ({"spec": "hunter2"}, "spec: Input should be"),
        ({"metadata": {"labels": {"a": 1}}}, "metadata.labels.a: Input should be a valid string"),
        ({"nodeSelector": {}}, "nodeSelector: Extra inputs are not permitted"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("part", ["all", "tasks"])
def test_a_template_that_is_none(
    monkeypatch: pytest.MonkeyPatch, part: str, template: Any, said: str
) -> None:
    with pytest.raises(SETTINGS_ERRORS) as caught:
        settings(monkeypatch, {part: template})
    (line,) = complaints(caught.value)
    assert line.startswith(f"BACKUPEXPORT_RUNNER_PODS: {part}: {said}")
    assert "hunter2" not in line


def test_a_part_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SETTINGS_ERRORS) as caught:
        settings(monkeypatch, {"every": {}})
    assert complaints(caught.value) == [
        "BACKUPEXPORT_RUNNER_PODS: every: Extra inputs are not permitted"
    ]


@pytest.mark.parametrize(
    "template",
    [
        {},
        {"metadata": None, "spec": None},
        {"spec": {"containers": []}},
        {"spec": {"nodeSelector": None}},
        {"spec": {"containers": [{"name": "runner", "resources": {"limits": {"cpu": 1}}}]}},
        {"spec": {"resources": {"requests": {"cpu": 0.5}}}},
    ],
)
def test_a_template_that_is_one(monkeypatch: pytest.MonkeyPatch, template: Any) -> None:
    pods = settings(monkeypatch, {"all": template, "tasks": template}).runner_pods
    given = {key: value for key, value in template.items() if value is not None}
    assert {"spec": {}} | given == pods.all == pods.tasks
