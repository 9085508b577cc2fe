"""The operator as its chart runs it, but as a process of this machine.

The chart's RBAC is applied and the process has the ServiceAccount's token, so a permission that
the chart lacks is missing here too.
"""

import json
import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from journal import now
from playground.forward import free_port
from playground.processes import running
from playground.tools import ROOT, apply, kubectl, run

# No node has it: Jobs and pods are made and wait.  A cordoned node would have the same effect,
# on everybody else in the cluster too, and for good where the benchmark is killed.
NO_NODE = {"backupexport.dev/bench": "no-node-has-this-label"}
_RELEASE = "bench"
# A pod without its claim would not even wait for a node.
_NEEDED = ("ServiceAccount", "Role", "RoleBinding", "PersistentVolumeClaim")
_PYTHONPATH = os.pathsep.join(str(ROOT / folder) for folder in ("operator", "crds"))

Manifest = dict[str, Any]


def settings_of(manifests: Sequence[Manifest], namespace: str, pod: str) -> dict[str, str]:
    """The environment values that the chart gives to its operator."""
    container = _operator(manifests)["containers"][0]
    fields = {"metadata.namespace": namespace, "metadata.name": pod, "metadata.uid": pod}
    return {
        item["name"]: item["value"]
        if "value" in item
        else fields[item["valueFrom"]["fieldRef"]["fieldPath"]]
        for item in container["env"]
    }


def needed_by(manifests: Sequence[Manifest]) -> list[Manifest]:
    """What the operator and its Jobs' pods need of the chart."""
    return [manifest for manifest in manifests if manifest["kind"] in _NEEDED]


def kubeconfig(cluster: dict[str, Any], token: str) -> dict[str, Any]:
    """A kubeconfig for one user who has a token."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "bench", "cluster": cluster}],
        "users": [{"name": "bench", "user": {"token": token}}],
        "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
        "current-context": "bench",
    }


@dataclass(frozen=True)
class Operator:
    """An operator that runs."""

    pid: int
    started: float


class Installation:
    """What an operator needs in one namespace, as the chart makes it."""

    def __init__(self, namespace: str, folder: Path, **settings: str) -> None:
        """`settings` are environment values without BACKUPEXPORT_, over the chart's own."""
        self._namespace, self._folder = namespace, folder
        values = {"crds": {"install": False}, "runner": {"nodeSelector": NO_NODE}}
        text = run(
            "helm", "template", _RELEASE, str(ROOT / "charts" / "backupexport"),
            "--namespace", namespace, "--values", "-",
            stdin=json.dumps(values),
        )  # fmt: skip
        manifests = [manifest for manifest in yaml.safe_load_all(text) if manifest]
        apply(*needed_by(manifests))
        account = _operator(manifests)["serviceAccountName"]
        self._token = kubectl("-n", namespace, "create", "token", account, "--duration=4h").strip()
        self._settings = settings_of(manifests, namespace, f"{_RELEASE}-{uuid.uuid4()}")
        self._settings |= {f"BACKUPEXPORT_{name}": value for name, value in settings.items()}

    @contextmanager
    def operator(self, proxy_port: int | None = None) -> Iterator[Operator]:
        """Run it until the end of the context; through a proxy of plain HTTP where there is one."""
        cluster = {"server": f"http://127.0.0.1:{proxy_port}"} if proxy_port else own_cluster()
        file = self._folder / f"{self._namespace}.kubeconfig"
        file.write_text(json.dumps(kubeconfig(cluster, self._token)), encoding="utf-8")
        file.chmod(0o600)
        ports = {name: str(free_port()) for name in self._settings if name.endswith("_PORT")}
        settings = {**self._settings, **ports, "KUBECONFIG": str(file), "PYTHONPATH": _PYTHONPATH}
        log = self._folder / f"{self._namespace}.log"
        started = now()
        with running("-m", "backupexport_operator", settings=settings, log=log) as process:
            yield Operator(process.pid, started)


def own_cluster() -> dict[str, Any]:
    """The cluster's own entry in the kubeconfig, with its certificate in it."""
    view = json.loads(kubectl("config", "view", "--raw", "--flatten", "--minify", "-o", "json"))
    cluster: dict[str, Any] = view["clusters"][0]["cluster"]
    return cluster


def _operator(manifests: Sequence[Manifest]) -> dict[str, Any]:
    (deployment,) = (
        manifest
        for manifest in manifests
        if manifest["kind"] == "Deployment" and manifest["metadata"]["name"].endswith("-operator")
    )
    spec: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return spec
