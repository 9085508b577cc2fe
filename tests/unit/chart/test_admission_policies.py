"""What the API server holds the operator's Jobs to."""

import json
import re
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


def allowed_claims(manifests: list[Manifest]) -> list[str]:
    (claims,) = re.findall(r"claimName in (\[.*?\])", expressions(manifests))
    return list(json.loads(claims))


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
    assert allowed_claims(manifests) == [settings.storages["default"].root]
    account = settings.runner_pods.all["spec"]["serviceAccountName"]
    assert f'serviceAccountName == "{account}"' in allowed


def test_the_claims_that_held_exports_before_may_be_mounted() -> None:
    manifests = render({"storage": {"formerClaims": ["old", "older"]}})
    assert allowed_claims(manifests) == ["old", "older", "r-backupexport-exports"]
    assert allowed_claims(render({})) == ["r-backupexport-exports"]


def test_the_claims_of_all_storages_may_be_mounted() -> None:
    storages = {"fast": {"volume": {"claim": "ssd"}}, "default": {"s3": {"bucket": "exports"}}}
    manifests = render({"storages": storages})
    assert allowed_claims(manifests) == ["r-backupexport-exports", "ssd"]
    manifests = render({"storages": storages, "storage": {"enabled": False}})
    assert allowed_claims(manifests) == ["ssd"]


def test_a_volume_for_the_pod_alone_is_the_spool_and_only_where_there_is_one() -> None:
    assert "ephemeral" not in expressions(render({}))
    spool = {"runner": {"spool": {"size": "10Gi"}}}
    assert 'has(v.ephemeral) && v.name == "spool"' in expressions(render(spool))


def test_a_job_may_mount_what_the_runner_needs_and_no_other_secret_of_the_releases() -> None:
    manifests = render(
        {
            "imagePullSecrets": [{"name": "registry"}],
            "ingress": {"enabled": True, "hosts": ["h"], "tls": [{"secretName": "of-the-ingress"}]},
            "api": {"replicas": 1, "rateLimit": {"storageUrlSecret": {"name": "of-the-storage"}}},
            "deliveries": {
                "email": {"host": "h", "from": "a@b.cd", "secretRef": {"name": "mail-login"}}
            },
            "storages": {"s3": {"s3": {"bucket": "exports"}, "secretRef": {"name": "bucket"}}},
        }
    )
    forbidden = re.search(r"s\.secret\.name in (\[.*?\])", expressions(manifests))
    assert forbidden
    own = json.loads(environment(manifests, "operator")["BACKUPEXPORT_OWN_SECRETS"])
    assert set(json.loads(forbidden[1])) == set(own) - {"mail-login", "bucket"}
    assert {"registry", "bucket", "of-the-ingress", "of-the-storage", "r-backupexport-jwt"} < set(
        own
    )


def test_a_secret_that_a_delivery_shares_is_mounted_all_the_same() -> None:
    manifests = render(
        {
            "auth": {"jwt": {"existingSecret": "all-in-one"}},
            "deliveries": {"telegram": {"secretRef": {"name": "all-in-one"}}},
        }
    )
    assert "all-in-one" not in expressions(manifests)


def test_it_can_be_turned_off() -> None:
    manifests = render({"admissionPolicies": {"operatorJobs": False}})
    assert not of_kind(manifests, POLICY, NAME)
    assert not of_kind(manifests, f"{POLICY}Binding", NAME)
