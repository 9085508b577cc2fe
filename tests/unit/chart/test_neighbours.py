"""What the chart makes of a place where others are already: other releases, a claim, people."""

import json
from pathlib import Path
from typing import Any

import pytest
from rendered_chart import Manifest, evaluated, of_kind, render, rendered_notes


def deployment(instance: str, component: str = "operator", part: str = "backupexport") -> Manifest:
    labels = {
        "app.kubernetes.io/name": "whatever",
        "app.kubernetes.io/instance": instance,
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/part-of": part,
    }
    return {"metadata": {"name": f"{instance}-{component}", "labels": labels}}


@pytest.mark.parametrize(
    ("there", "others"),
    [
        ([], ""),
        ([deployment("r"), deployment("r", "api")], ""),
        ([deployment("r"), deployment("other")], "other"),
        ([deployment("a"), deployment("b")], "a, b"),
        ([deployment("other", "api")], ""),
        ([deployment("other", part="something else")], ""),
        ([{"metadata": {"name": "without labels"}}], ""),
    ],
    ids=str,
)
def test_the_operator_of_another_release_is_found(
    there: list[Manifest], others: str, tmp_path: Path
) -> None:
    found = json.dumps({"items": there})
    expression = f'include "backupexport.otherRelease" (list . (fromJson `{found}`))'
    assert evaluated(expression, tmp_path) == others


def test_it_is_found_by_labels_that_no_value_changes() -> None:
    values = {"nameOverride": "x", "commonLabels": {"app.kubernetes.io/part-of": "y"}}
    (operator,) = of_kind(render(values), "Deployment", "-operator")
    expected = deployment("r")["metadata"]["labels"] | {"app.kubernetes.io/name": "x"}
    assert expected.items() <= operator["metadata"]["labels"].items()


@pytest.mark.parametrize(
    "values",
    [{}, {"runner": {"nodeSelector": {"a": "b"}}}, {"api": {"downloads": {"enabled": False}}}],
    ids=str,
)
def test_the_notes_ask_for_nothing_that_a_claim_forbids(values: Manifest, tmp_path: Path) -> None:
    notes = rendered_notes(values, tmp_path)
    assert "accessModes={" not in notes
    assert "storage.existingClaim" in notes


@pytest.mark.parametrize(
    ("values", "addresses"),
    [
        ({}, []),
        ({"publicUrl": "https://q/w/"}, ["https://q/w"]),
        (
            {
                "publicUrl": "https://q/w",
                "ingress": {"enabled": True, "hosts": ["a.b"], "allowHttp": True},
            },
            ["https://q/w"],
        ),
        (
            {"ingress": {"enabled": True, "hosts": ["a.b", "*.c"], "allowHttp": True}},
            ["http://a.b", "http://*.c"],
        ),
    ],
    ids=str,
)
def test_the_notes_say_where_users_find_it(
    values: Manifest, addresses: list[str], tmp_path: Path
) -> None:
    _, _, after = rendered_notes(values, tmp_path).partition("from outside of the cluster:\n")
    assert after.split("\n\n")[0].split() == addresses


def grants(role: Manifest) -> dict[str, Any]:
    return {resource: rule["verbs"] for rule in role["rules"] for resource in rule["resources"]}


def test_people_get_roles_only_where_asked_for() -> None:
    manifests = render({"rbac": {"aggregateClusterRoles": True}, "commonAnnotations": {"a": "b"}})
    roles = {
        label.rpartition("-")[2]: role
        for role in of_kind(manifests, "ClusterRole")
        for label in role["metadata"]["labels"]
        if "aggregate-to" in label
    }
    read = ["get", "list", "watch"]
    assert grants(roles["view"]) == {"backupexports": read, "exporttargets": read}
    assert grants(roles["edit"]) == {
        "backupexports": ["create", "update", "patch", "delete", "deletecollection"]
    }
    for kind, role in roles.items():
        metadata = role["metadata"]
        assert metadata["labels"][f"rbac.authorization.k8s.io/aggregate-to-{kind}"] == "true"
        assert metadata["labels"]["app.kubernetes.io/instance"] == "r"
        assert metadata["annotations"] == {"a": "b"}
        # Another release of the name in another namespace makes others.
        assert metadata["name"] == f"n:r-backupexport:{kind}"
        assert "namespace" not in metadata
        assert {group for rule in role["rules"] for group in rule["apiGroups"]} == {
            "backupexport.dev"
        }


def test_the_policy_about_targets_is_the_releases_own_and_can_be_turned_off() -> None:
    kinds = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
    manifests = render()
    policy, binding = (of_kind(manifests, kind, ".target-secrets")[0] for kind in kinds)
    assert policy["metadata"]["name"] == binding["spec"]["policyName"]
    assert policy["metadata"]["name"].startswith("n.")
    namespaces = binding["spec"]["matchResources"]["namespaceSelector"]["matchLabels"]
    assert namespaces == {"kubernetes.io/metadata.name": "n"}
    # Three would cost more than the API server lets one expression cost.
    asked = [rule["expression"].count(".check(") for rule in policy["spec"]["validations"]]
    assert max(asked) == 1
    assert sum(asked) == 10
    off = render({"admissionPolicies": {"targetSecrets": False}})
    assert not any(of_kind(off, kind, ".target-secrets") for kind in kinds)
