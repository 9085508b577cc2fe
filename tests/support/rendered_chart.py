"""The chart, rendered by helm without a cluster."""

import atexit
import base64
import functools
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "backupexport"
# helm renders for the newest Kubernetes it knows, and a helm built without a version for 1.20.
KUBERNETES = "1.34.0"
LONG_SECRET = "0123456789abcdef0123456789abcdef"
PUBLIC_KEY = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n"

Manifest = dict[str, Any]

EVERYTHING: dict[str, Any] = {
    "commonLabels": {"team": "data"},
    "commonAnnotations": {"note": "x"},
    "imagePullSecrets": [{"name": "registry"}],
    "image": {"digest": "sha256:" + "0" * 64},
    "auth": {"jwt": {"secret": LONG_SECRET, "issuer": "https://issuer", "audience": "exports"}},
    "api": {
        "replicas": 3,
        "autoscaling": {"enabled": True, "minReplicas": 3},
        "podDisruptionBudget": {"maxUnavailable": "30%"},
        "topologySpreadConstraints": [{"topologyKey": "zone", "maxSkew": 2}],
        "drainSeconds": 12.5,
        "service": {"type": "NodePort", "annotations": {"a": "b"}},
        "podLabels": {"color": "blue"},
        "podAnnotations": {"wind": "west"},
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"operator": "Exists"}],
        "affinity": {"podAntiAffinity": {}},
        "priorityClassName": "high",
    },
    "ingress": {
        "enabled": True,
        "className": "nginx",
        "annotations": {"a": "b"},
        "hosts": ["exports.example.com", "*.example.org"],
        "tls": [{"secretName": "tls", "hosts": ["exports.example.com", "*.example.org"]}],
    },
    "valkey": {"password": LONG_SECRET, "podLabels": {"color": "red"}, "nodeSelector": {"a": "b"}},
    "networkPolicy": {
        "api": {"from": [{"namespaceSelector": {}}]},
        "operator": {"from": [{"namespaceSelector": {}}]},
    },
    "metrics": {
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "prometheusRule": {
            "enabled": True,
            "labels": {"release": "prometheus"},
            "alertLabels": {"team": "data"},
            "disabled": ["BackupExportApiErrors"],
            "pendingSeconds": 7200,
            "additionalRules": [{"alert": "Mine", "expr": "vector(1)"}],
        },
        "dashboard": {"enabled": True, "annotations": {"grafana_folder": "Data"}},
    },
    "operator": {
        "replicas": 3,
        "lease": {"seconds": 30, "renewDeadlineSeconds": 20.5, "retrySeconds": 5},
        "topologySpreadConstraints": [{"topologyKey": "zone", "maxSkew": 1}],
    },
    "runner": {
        "resources": {"limits": {"memory": "1Gi"}},
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [
            {"effect": "NoExecute", "operator": "Exists", "tolerationSeconds": 2592000}
        ],
        "activeDeadlineSeconds": 2592000,
        "taskResources": {"limits": {"cpu": "100m"}},
        "podLabels": {"color": "green"},
        "podAnnotations": {"wind": "east"},
        "affinity": {"podAntiAffinity": {}},
        "priorityClassName": "low",
    },
    "storage": {"storageClassName": "-", "accessModes": ["ReadWriteMany"], "keep": False},
    "exportTargets": [{"projectId": "a", "secretRef": {"name": "a"}}],
}
COMBINATIONS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "everything": EVERYTHING,
    "the user's own": {
        "auth": {"jwt": {"existingSecret": "mine"}},
        "storage": {"existingClaim": "mine"},
        "crds": {"install": False},
        "api": {
            "service": {"enabled": False},
            "rateLimit": {"storageUrlSecret": {"name": "mine"}},
            "topologySpreadConstraints": [],
        },
    },
    "one replica": {
        "api": {"replicas": 1},
        "operator": {"replicas": 1},
        "networkPolicy": {"enabled": False},
    },
    "public keys": {
        "auth": {
            "jwt": {
                "algorithms": ["RS256", "EdDSA"],
                "publicKey": PUBLIC_KEY,
                "audience": "exports",
            }
        },
        "valkey": {"existingSecret": "mine"},
    },
    "published keys": {
        "auth": {
            "jwt": {
                "algorithms": ["HS512", "ES256"],
                "jwksUrl": "https://issuer.example/jwks",
                "anyAudience": True,
            }
        },
        "valkey": {"enabled": False},
    },
}


@functools.cache
def helm() -> str:
    for candidate in (os.environ.get("HELM"), ROOT / ".cluster" / "bin" / "helm", "helm"):
        found = candidate and shutil.which(candidate)
        if found:
            return str(found)
    pytest.skip("no helm: `make cluster-up` brings one, or set HELM=")


def run_helm(values: dict[str, Any], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [helm(), *arguments, "--values", "-", "--kube-version", KUBERNETES],
        input=json.dumps(values),
        capture_output=True,
        text=True,
        check=False,
    )


@functools.cache
def _installed_chart() -> Path:
    """The chart as `helm install` has it, which sees a cluster that has nothing of it yet.

    Of two templates of one name Helm takes that of the file whose name sorts first.
    """
    folder = tempfile.TemporaryDirectory(prefix="backupexport-chart-")
    atexit.register(folder.cleanup)
    return seeing(Path(folder.name) / "backupexport")


def seeing(chart: Path) -> Path:
    """Make a copy of the chart that takes `helm template` for a `helm install`."""
    shutil.copytree(CHART, chart)
    (chart / "templates" / "_a.tpl").write_text(
        '{{- define "backupexport.seesCluster" -}}yes{{- end -}}\n', encoding="utf-8"
    )
    return chart


def template(
    values: dict[str, Any], release: str = "r", namespace: str = "n"
) -> subprocess.CompletedProcess[str]:
    return run_helm(values, "template", release, str(_installed_chart()), "--namespace", namespace)


@functools.cache
def _rendered(values: str, release: str) -> str:
    done = template(json.loads(values), release)
    assert done.returncode == 0, done.stderr
    return done.stdout


def render(values: dict[str, Any] | None = None, release: str = "r") -> list[Manifest]:
    text = _rendered(json.dumps(values or {}), release)
    # libyaml's parser, ten times as fast as the one in Python.
    return [manifest for manifest in yaml.load_all(text, yaml.CSafeLoader) if manifest]


def evaluated(expression: str, folder: Path) -> str:
    """What an expression of Helm's makes, with the chart's named templates at hand."""
    chart = seeing(folder / "backupexport")
    (chart / "templates" / "evaluated.yaml").write_text(
        f"kind: ConfigMap\ndata: {{text: {{{{ {expression} | toJson }}}}}}\n", encoding="utf-8"
    )
    done = run_helm({}, "template", "r", str(chart), "-n", "n", "-s", "templates/evaluated.yaml")
    assert done.returncode == 0, done.stderr
    text: str = yaml.safe_load(done.stdout)["data"]["text"]
    return text


def rendered_notes(values: dict[str, Any], folder: Path) -> str:
    """Helm shows notes only where it installs: here they are rendered into a ConfigMap."""
    chart = seeing(folder / "backupexport")
    (chart / "templates" / "NOTES.txt").rename(chart / "files" / "notes")
    (chart / "templates" / "notes.yaml").write_text(
        "kind: ConfigMap\nmetadata: {name: notes}\n"
        'data: {notes: {{ tpl (.Files.Get "files/notes") . | toJson }}}\n',
        encoding="utf-8",
    )
    done = run_helm(values, "template", "r", str(chart), "-n", "n", "-s", "templates/notes.yaml")
    assert done.returncode == 0, done.stderr
    notes: str = yaml.safe_load(done.stdout)["data"]["notes"]
    return notes


def of_kind(manifests: list[Manifest], kind: str, end: str = "") -> list[Manifest]:
    return [m for m in manifests if m["kind"] == kind and m["metadata"]["name"].endswith(end)]


def pod_specs(manifests: list[Manifest]) -> list[Manifest]:
    pods = [m["spec"] for m in of_kind(manifests, "Pod")]
    return pods + [
        m["spec"]["template"]["spec"] for m in manifests if m["kind"] in ("Deployment", "Job")
    ]


def environment(manifests: list[Manifest], component: str) -> dict[str, Any]:
    (deployment,) = of_kind(manifests, "Deployment", f"-{component}")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    names = [item["name"] for item in container["env"]]
    assert len(names) == len(set(names))
    return {item["name"]: item.get("value", item.get("valueFrom")) for item in container["env"]}


def data_of(manifests: list[Manifest], end: str) -> dict[str, str]:
    """The contents of a Secret."""
    (secret,) = of_kind(manifests, "Secret", end)
    return {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}


def kept(manifest: Manifest) -> bool:
    annotations = manifest["metadata"].get("annotations", {})
    return bool(annotations.get("helm.sh/resource-policy") == "keep")


def secret_file(manifests: list[Manifest], setting: str) -> Manifest:
    """The Secret and key (`name`, `key`, `optional`) whose file a setting of the api names."""
    file = environment(manifests, "api")[f"BACKUPEXPORT_{setting}"]
    (deployment,) = of_kind(manifests, "Deployment", "-api")
    spec = deployment["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    for mount in container["volumeMounts"]:
        for source in volumes[mount["name"]].get("projected", {"sources": []})["sources"]:
            secret = source["secret"]
            for item in secret["items"]:
                if file == f"{mount['mountPath']}/{item['path']}":
                    optional = {"optional": True} if secret.get("optional") else {}
                    return {"name": secret["name"], "key": item["key"], **optional}
    raise AssertionError(f"no Secret has the file {file}")


every_combination = pytest.mark.parametrize("values", COMBINATIONS.values(), ids=COMBINATIONS)
