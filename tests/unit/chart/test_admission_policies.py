"""What the API server holds the operator's Jobs to."""

from typing import Any

import pytest
from backupexport_operator.settings import Settings
from rendered_chart import (
    EVERYTHING,
    Manifest,
    environment,
    every_combination,
    of_kind,
    render,
)

POLICY = "ValidatingAdmissionPolicy"
NAME = ".operator-jobs"


def expressions(manifests: list[Manifest]) -> str:
    (policy,) = of_kind(manifests, POLICY, NAME)
    validations = policy["spec"]["validations"]
    assert all(one["message"] and "\n" not in one["message"] for one in validations)
    return "\n".join(one["expression"] for one in validations)


@every_combination
def test_the_operator_alone_and_here_alone_is_bound(values: dict[str, Any]) -> None:
    manifests = render(values)
    (policy,) = of_kind(manifests, POLICY, NAME)
    (binding,) = of_kind(manifests, f"{POLICY}Binding", NAME)
    assert policy["metadata"]["name"] == binding["spec"]["policyName"]
    # A release of this name in another namespace has another one.
    assert policy["metadata"]["name"] == "n.r-backupexport.operator-jobs"
    assert policy["spec"]["failurePolicy"] == "Fail"
    assert binding["spec"]["validationActions"] == ["Deny"]
    selector = binding["spec"]["matchResources"]["namespaceSelector"]
    assert selector == {"matchLabels": {"kubernetes.io/metadata.name": "n"}}
    (account,) = of_kind(manifests, "ServiceAccount", "-operator")
    (condition,) = policy["spec"]["matchConditions"]
    user = f"system:serviceaccount:n:{account['metadata']['name']}"
    assert condition["expression"] == f'request.userInfo.username == "{user}"'


@pytest.mark.parametrize(
    "values",
    [
        {},
        EVERYTHING,
        {"runner": {"image": {"repository": "registry/r", "digest": "sha256:" + "1" * 64}}},
        {"runner": {"podTemplate": {"spec": {"serviceAccountName": "mine"}}}},
        {"storage": {"existingClaim": "my-claim"}},
    ],
)
def test_the_operators_own_settings_are_what_is_allowed(
    values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    manifests = render(values)
    for name, value in environment(manifests, "operator").items():
        if isinstance(value, str):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("BACKUPEXPORT_NAMESPACE", "n")
    settings = Settings()
    allowed = expressions(manifests)
    assert f'c.image == "{settings.runner_image}"' in allowed
    assert f'claimName == "{settings.claim_name}"' in allowed
    account = settings.runner_pods.all["spec"]["serviceAccountName"]
    assert f'serviceAccountName == "{account}"' in allowed


def test_it_can_be_turned_off() -> None:
    manifests = render({"admissionPolicies": {"operatorJobs": False}})
    assert not of_kind(manifests, POLICY, NAME)
    assert not of_kind(manifests, f"{POLICY}Binding", NAME)
