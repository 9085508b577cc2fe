"""The chart, rendered by helm without a cluster."""

import base64
import itertools
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from backupexport_contract import crd_manifests
from rendered_chart import (
    CHART,
    EVERYTHING,
    LONG_SECRET,
    ROOT,
    environment,
    every_combination,
    kept,
    of_kind,
    pod_specs,
    render,
    rendered_notes,
    run_helm,
)


@every_combination
def test_lint(values: dict[str, Any]) -> None:
    done = run_helm(values, "lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout + done.stderr


def test_one_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert str(chart["appVersion"]) == project["version"]
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert f"ARG VERSION={project['version']}\n" in dockerfile


@every_combination
def test_every_pod_is_restricted(values: dict[str, Any]) -> None:
    specs = pod_specs(render(values))
    assert len(specs) >= 2
    for spec in specs:
        pod = spec["securityContext"]
        assert pod["runAsNonRoot"] is True
        assert pod["runAsUser"] == 65532
        assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["enableServiceLinks"] is False
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["limits"]["memory"]


@every_combination
def test_only_api_and_operator_get_a_token(values: dict[str, Any]) -> None:
    manifests = render(values)
    assert all(
        m["automountServiceAccountToken"] is False for m in of_kind(manifests, "ServiceAccount")
    )
    with_token = {
        spec["serviceAccountName"]
        for spec in pod_specs(manifests)
        if spec["automountServiceAccountToken"]
    }
    assert with_token == {"r-backupexport-api", "r-backupexport-operator"}
    bound = {m["subjects"][0]["name"] for m in of_kind(manifests, "RoleBinding")}
    assert bound == with_token


EXPORTS, TARGETS = "backupexport.dev/backupexports", "backupexport.dev/exporttargets"
READ = {"get", "list", "watch"}
GRANTS: dict[str, dict[str, set[str]]] = {
    "api": {EXPORTS: READ | {"create", "patch"}, TARGETS: READ},
    "operator": {
        EXPORTS: READ | {"patch", "delete"},
        TARGETS: READ,
        f"{EXPORTS}/status": {"patch"},
        f"{EXPORTS}/finalizers": {"update"},
        f"{TARGETS}/status": {"patch"},
        "batch/jobs": READ | {"create", "delete"},
        "/pods": READ | {"delete"},
        "/pods/log": {"get"},
        "events.k8s.io/events": {"create", "list", "patch"},
        "coordination.k8s.io/leases": {"create"},
        "coordination.k8s.io/leases/r-backupexport-operator": {"get", "update"},
        "/namespaces/n": {"get"},
    },
}


@every_combination
def test_roles_grant_this_and_nothing_else(values: dict[str, Any]) -> None:
    manifests = render(values)
    assert not [m for m in manifests if m["kind"].startswith("ClusterRole")]
    granted: dict[str, dict[str, set[str]]] = {}
    for role in of_kind(manifests, "Role"):
        grants = granted.setdefault(role["metadata"]["name"].rpartition("-")[2], {})
        for rule in role["rules"]:
            for group, resource in itertools.product(rule["apiGroups"], rule["resources"]):
                what = "/".join((group, resource, *rule.get("resourceNames", ())))
                grants.setdefault(what, set()).update(rule["verbs"])
    assert granted == GRANTS


@pytest.mark.parametrize("keep", [True, False])
def test_crds_are_the_generated_ones(keep: bool) -> None:
    crds = of_kind(render({"crds": {"keep": keep}}), "CustomResourceDefinition")
    assert all(kept(crd) == keep for crd in crds)
    generated = list(crd_manifests.manifests().values())
    assert [crd["spec"] for crd in crds] == [crd["spec"] for crd in generated]
    assert [crd["metadata"]["name"] for crd in crds] == [c["metadata"]["name"] for c in generated]


def test_crds_can_be_left_out() -> None:
    assert not of_kind(render({"crds": {"install": False}}), "CustomResourceDefinition")


@pytest.mark.parametrize("keep", [True, False])
def test_the_claim_outlives_an_uninstall_unless_told_otherwise(keep: bool) -> None:
    (claim,) = of_kind(render({"storage": {"keep": keep}}), "PersistentVolumeClaim")
    assert kept(claim) == keep


def test_an_existing_claim_is_used() -> None:
    manifests = render({"storage": {"existingClaim": "mine"}})
    assert not of_kind(manifests, "PersistentVolumeClaim")
    assert [job["metadata"]["name"] for job in of_kind(manifests, "Job")] == [
        "r-backupexport-uninstall"
    ]
    storages = environment(manifests, "operator")["BACKUPEXPORT_STORAGES"]
    assert json.loads(storages) == {"default": {"volume": {"claim": "mine"}}}


def test_the_storage_class() -> None:
    classes = {
        given: of_kind(render({"storage": {"storageClassName": given}}), "PersistentVolumeClaim")[
            0
        ]["spec"].get("storageClassName")
        for given in ("", "-", "fast")
    }
    assert classes == {"": None, "-": "", "fast": "fast"}


def test_a_secret_is_made_and_kept() -> None:
    (secret,) = of_kind(render(), "Secret", "-jwt")
    # What HS512 asks for.
    assert len(base64.b64decode(secret["data"]["jwt-secret"])) >= 64
    assert kept(secret)


def test_a_given_secret_is_used_and_its_change_rolls_the_api() -> None:
    def of(secret: str) -> tuple[bytes, str]:
        manifests = render({"auth": {"jwt": {"secret": secret}}})
        (rendered,) = of_kind(manifests, "Secret", "-jwt")
        (api,) = of_kind(manifests, "Deployment", "-api")
        checksum = api["spec"]["template"]["metadata"]["annotations"]["checksum/jwt"]
        return base64.b64decode(rendered["data"]["jwt-secret"]), checksum

    first, second = of(LONG_SECRET), of(LONG_SECRET[::-1])
    assert first[0] == LONG_SECRET.encode()
    assert first[1] != second[1]
    assert len(first[1]) <= 8


def test_an_existing_secret_is_mounted_and_none_is_made() -> None:
    manifests = render({"auth": {"jwt": {"existingSecret": "mine", "key": "k"}}})
    assert not of_kind(manifests, "Secret", "-jwt")
    for component, sources in {
        "api": [{"secretName": "mine", "items": [{"key": "k", "path": "secret"}]}],
        "operator": [],
    }.items():
        (deployment,) = of_kind(manifests, "Deployment", f"-{component}")
        volumes = deployment["spec"]["template"]["spec"]["volumes"]
        assert [volume["secret"] for volume in volumes if "secret" in volume] == sources


@pytest.mark.parametrize("project", ["proj-1", "--help", "_", "true", "1e3", "x" * 100])
def test_any_project_id_can_be_a_target(project: str) -> None:
    target = {
        "projectId": project,
        "secretRef": {"name": "s"},
        "retentionSeconds": 31536000,
        "maxBytes": 10**12,
        "maxStoredBytes": 10**13,
    }
    (rendered,) = of_kind(render({"exportTargets": [target]}), "ExportTarget")
    assert rendered["spec"] == target
    name = rendered["metadata"]["name"]
    assert name.startswith("target-")
    assert len(name) == len("target-") + 16


def test_a_target_can_have_a_name_of_its_own() -> None:
    targets = [
        {"name": "shop", "projectId": "a", "secretRef": {"name": "s"}},
        {"projectId": "b", "secretRef": {"name": "s"}},
    ]
    shop, other = of_kind(render({"exportTargets": targets}), "ExportTarget")
    assert shop["metadata"]["name"] == "shop"
    assert "name" not in shop["spec"]
    assert other["metadata"]["name"] != "shop"


@pytest.mark.parametrize(
    ("image", "reference"),
    [
        ({}, "backupexport-runner:0.1.0"),
        ({"repository": "registry:5000/r", "tag": "1"}, "registry:5000/r:1"),
        ({"tag": "1", "digest": "sha256:" + "a" * 64}, "backupexport-runner@sha256:" + "a" * 64),
    ],
)
def test_image_references(image: dict[str, str], reference: str) -> None:
    env = environment(render({"runner": {"image": image}}), "operator")
    assert env["BACKUPEXPORT_RUNNER_IMAGE"] == reference


def test_lists_and_objects_reach_the_operator_as_json() -> None:
    env = environment(render(EVERYTHING), "operator")
    runner = EVERYTHING["runner"]
    pods = json.loads(env["BACKUPEXPORT_RUNNER_PODS"])
    spec = pods["all"]["spec"]
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert spec["tolerations"] == runner["tolerations"]
    assert spec["nodeSelector"] == runner["nodeSelector"]
    assert spec["containers"][0]["resources"]["limits"] == {"memory": "1Gi"}
    assert env["BACKUPEXPORT_ACTIVE_DEADLINE_SECONDS"] == "2592000"


def test_the_operator_knows_the_secrets_of_the_releases_own() -> None:
    given = {
        "imagePullSecrets": [{"name": "registry"}],
        "runner": {"podTemplate": {"spec": {"imagePullSecrets": [{"name": "of-the-runner"}]}}},
        "ingress": {"enabled": True, "hosts": ["a.b"], "tls": [{"secretName": "ingress-tls"}]},
        "deliveries": {"telegram": {"secretRef": {"name": "bot"}}},
        "auth": {"jwt": {"existingSecret": "jwt-of-ours"}},
        "api": {"replicas": 2},
    }
    manifests = render(given)
    own = set(json.loads(environment(manifests, "operator")["BACKUPEXPORT_OWN_SECRETS"]))
    assert {"registry", "of-the-runner", "ingress-tls", "bot", "jwt-of-ours"} <= own
    made = {m["metadata"]["name"] for m in manifests if m["kind"] == "Secret"}
    assert made
    assert made <= own
    assert made | _secrets_of_pods(manifests) <= own


def _secrets_of_pods(node: Any) -> set[str]:
    """Every Secret that a pod of the chart gets."""
    if isinstance(node, list):
        return set().union(*map(_secrets_of_pods, node))
    if not isinstance(node, dict):
        return set()
    found = {node["secretName"]} if "secretName" in node else set()
    found |= {node["secretKeyRef"]["name"]} if "secretKeyRef" in node else set()
    return found.union(*map(_secrets_of_pods, node.values()))


def test_the_kubelet_finds_no_dollar_sign_in_json() -> None:
    annotations = {"script": "$(HOME) $$ ${x}"}
    deliveries = {"telegram": {"secretRef": {"name": "bot"}, "apiUrl": "http://bot/$(HOME)"}}
    values = {"runner": {"podAnnotations": annotations}, "deliveries": deliveries}
    env = environment(render(values), "operator")
    for name in ("BACKUPEXPORT_RUNNER_PODS", "BACKUPEXPORT_DELIVERIES"):
        assert "$" not in env[name]
    pods = json.loads(env["BACKUPEXPORT_RUNNER_PODS"])
    assert pods["all"]["metadata"]["annotations"] == annotations
    assert json.loads(env["BACKUPEXPORT_DELIVERIES"]) == deliveries


def test_what_has_no_value_is_not_set() -> None:
    manifests = render()
    assert (
        environment(manifests, "api")
        .keys()
        .isdisjoint({"BACKUPEXPORT_JWT_ISSUER", "BACKUPEXPORT_JWT_PUBLIC_KEY_FILE"})
    )
    assert (
        environment(manifests, "operator")
        .keys()
        .isdisjoint({"BACKUPEXPORT_DELIVERIES", "BACKUPEXPORT_KUEUE_QUEUE_NAME"})
    )
    spec = json.loads(environment(manifests, "operator")["BACKUPEXPORT_RUNNER_PODS"])["all"]["spec"]
    assert spec.keys() == {"containers", "serviceAccountName"}


def test_zero_is_a_value() -> None:
    env = environment(render({"runner": {"backoffLimit": 0}}), "operator")
    assert env["BACKUPEXPORT_BACKOFF_LIMIT"] == "0"


def test_the_service_finds_the_api_alone() -> None:
    manifests = render()
    (service,) = of_kind(manifests, "Service", "-api")
    chosen = [
        deployment["metadata"]["name"]
        for deployment in of_kind(manifests, "Deployment")
        if service["spec"]["selector"].items()
        <= deployment["spec"]["template"]["metadata"]["labels"].items()
    ]
    assert chosen == ["r-backupexport-api"]
    assert service["spec"]["ports"][0]["targetPort"] == "http"


@pytest.mark.parametrize(
    ("release", "fullname"),
    [
        ("backupexport", "backupexport"),
        ("my-backupexport", "my-backupexport"),
        ("r", "r-backupexport"),
        ("l" * 53, "l" * 48),
    ],
)
def test_names_follow_the_release(release: str, fullname: str) -> None:
    manifests = render(release=release)
    assert of_kind(manifests, "Deployment", f"{fullname}-api")
    for manifest in manifests:
        if manifest["kind"].startswith("ValidatingAdmissionPolicy"):
            # The whole cluster's: releases of one name in several namespaces each have their own.
            assert manifest["metadata"]["name"].startswith(f"n.{fullname}.")
        elif manifest["kind"] != "CustomResourceDefinition":
            assert manifest["metadata"]["name"].startswith(fullname)
            assert len(manifest["metadata"]["name"]) <= 63
            assert manifest["metadata"]["namespace"] == "n"


def test_labels_and_annotations_of_the_user() -> None:
    manifests = render(EVERYTHING)
    for manifest in manifests:
        assert manifest["metadata"]["labels"]["team"] == "data"
        assert manifest["metadata"]["annotations"]["note"] == "x"
    (api,) = of_kind(manifests, "Deployment", "-api")
    pod = api["spec"]["template"]["metadata"]
    assert pod["labels"]["color"] == "blue"
    assert pod["annotations"]["wind"] == "west"


@every_combination
def test_the_notes_show_the_first_export(values: dict[str, Any], tmp_path: Path) -> None:
    notes = rendered_notes(values, tmp_path)
    assert "kubectl -n n port-forward " in notes
    project = "a" if values is EVERYTHING else "my-project"
    # Without the shared secret the pod can't make one.
    makes_tokens = values.get("auth", {}).get("jwt", {}).get("algorithms") != ["RS256", "EdDSA"]
    token = (
        "$(kubectl -n n exec deploy/r-backupexport-api -- \\\n"
        f"       backupexport-token --subject you --project={project})\n\n4. "
    )
    assert (token in notes) is makes_tokens
    assert ('projects: ["my-project"]\n\n     TOKEN=…\n\n4. ' in notes) is not makes_tokens
    counts_apart = values.get("valkey", {}).get("enabled") is False
    assert ("counts exports by itself" in notes) is counts_apart
    assert ("https://exports.example.com" in notes) is (values is EVERYTHING)
