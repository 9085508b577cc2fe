"""Operators as processes of this machine: ours as its chart runs it, and a bare kopf handler.

The chart's RBAC is applied and our process has the ServiceAccount's token, so a permission that
the chart lacks is missing here too.
"""

import asyncio
import json
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import Any

import yaml
from counting_proxy import CountingProxy, Request
from export_field import ExportField, export_of
from journal import Step, now
from measures import MeasurementError, check_equal
from playground.forward import free_port
from playground.processes import running
from playground.tools import ROOT, apply, kubectl, run
from processors import cpu_seconds, memory

# No node has it: Jobs and pods are made and wait.  A cordoned node would have the same effect,
# on everybody else in the cluster too, and for good where the benchmark is killed.
NO_NODE = {"backupexport.dev/bench": "no-node-has-this-label"}
_RELEASE = "bench"
# A pod without its claim would not even wait for a node.
_NEEDED = ("ServiceAccount", "Role", "RoleBinding", "PersistentVolumeClaim")
_PYTHONPATH = os.pathsep.join(str(ROOT / folder) for folder in ("operator", "crds"))
_SET_BY_THE_SERVER = {
    "uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "annotations",
}  # fmt: skip
_SET_BY_THE_CONTROLLER = {"controller-uid", "job-name"}
# Of our log's JSON, and of kopf's own.
_ERRORS = ('"level": "error"', "[ERROR", "Traceback")

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Operator:
    """An operator that runs."""

    name: str
    process: Popen[str]
    log: Path
    started: float

    @property
    def pid(self) -> int:
        """The process' id."""
        return self.process.pid

    def cpu(self) -> float:
        """The processor time that it has used so far, in seconds."""
        return cpu_seconds(self.pid)

    @contextmanager
    def blamed(self) -> Iterator[None]:
        """Say that it was this one's error, and how its log ends."""
        try:
            yield
            check_equal("its exit status", self.process.poll(), None)
        except Exception as error:
            end = self.log.read_text(encoding="utf-8")[-2000:] or "(it is empty)"
            raise MeasurementError(f"{self.name} failed: {error}; its log ends:\n{end}") from error

    def errors(self) -> list[str]:
        """The lines of its log that tell of an error: what was measured includes its repetition."""
        lines = self.log.read_text(encoding="utf-8").splitlines()
        return [line for line in lines if any(mark in line for mark in _ERRORS)]


@dataclass(frozen=True)
class Contender:
    """An operator, and the exports that it serves."""

    field: ExportField
    operator: Operator


class Installation:
    """What an operator needs in one namespace, as the chart makes it."""

    def __init__(self, namespace: str, folder: Path) -> None:
        self._namespace, self._folder = namespace, folder
        values = {
            "crds": {"install": False},
            "runner": {"nodeSelector": NO_NODE},
            # The API's part is rendered and not used.
            "api": {"replicas": 1},
            "auth": {"jwt": {"existingSecret": "unused"}},
            # Exports' Jobs alone are counted.
            "storage": {"check": False},
        }
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
        # The limits are not what is measured.
        self._settings["BACKUPEXPORT_MAX_CONCURRENT"] = "0"

    @contextmanager
    def operator(
        self, proxy_port: int | None = None, resync_seconds: int | None = None
    ) -> Iterator[Operator]:
        """Run it until the end of the context; through a proxy of plain HTTP where there is one."""
        cluster = {"server": f"http://127.0.0.1:{proxy_port}"} if proxy_port else own_cluster()
        file = self._folder / f"{self._namespace}.kubeconfig"
        file.write_text(json.dumps(kubeconfig(cluster, self._token)), encoding="utf-8")
        file.chmod(0o600)
        ports = {name: str(free_port()) for name in self._settings if name.endswith("_PORT")}
        settings = {**self._settings, **ports, "KUBECONFIG": str(file), "PYTHONPATH": _PYTHONPATH}
        if resync_seconds is not None:
            settings["BACKUPEXPORT_RESYNC_SECONDS"] = str(resync_seconds)
        log = self._folder / f"{self._namespace}.log"
        started = now()
        with running("-m", "backupexport_operator", settings=settings, log=log) as process:
            yield Operator("operator", process, log, started)


@contextmanager
def bare_operator(namespace: str, job: Manifest, folder: Path) -> Iterator[Operator]:
    """A bare kopf handler that makes Jobs like `job`."""
    file, log = folder / "job.json", folder / "bare.log"
    file.write_text(json.dumps(as_template(job)), encoding="utf-8")
    command = [str(ROOT / "bench" / "bare_operator.py"), namespace, str(file)]
    started = now()
    with running(*command, settings={}, log=log) as process:
        yield Operator("bare", process, log, started)


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


def own_cluster() -> dict[str, Any]:
    """The cluster's own entry in the kubeconfig, with its certificate in it."""
    view = json.loads(kubectl("config", "view", "--raw", "--flatten", "--minify", "-o", "json"))
    cluster: dict[str, Any] = view["clusters"][0]["cluster"]
    return cluster


def as_template(job: Manifest) -> dict[str, Any]:
    """A Job's JSON as it was before the API server filled it in, and whose it was."""
    metadata = {
        key: value for key, value in job["metadata"].items() if key not in _SET_BY_THE_SERVER
    }
    spec = {key: value for key, value in job["spec"].items() if key != "selector"}
    pod = spec["template"]
    labels = _own(metadata["labels"])
    made = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata | {"namespace": None, "labels": labels},
        "spec": spec
        | {"template": pod | {"metadata": {"labels": _own(pod["metadata"]["labels"])}}},
    }
    export = {"name": export_of(job), "uid": metadata["ownerReferences"][0]["uid"]}
    return {"export": export, "job": json.dumps(made)}


def _own(labels: dict[str, str]) -> dict[str, str]:
    return {
        key: value
        for key, value in labels.items()
        if key.rpartition("/")[2] not in _SET_BY_THE_CONTROLLER
    }


def _operator(manifests: Sequence[Manifest]) -> dict[str, Any]:
    (deployment,) = (
        manifest
        for manifest in manifests
        if manifest["kind"] == "Deployment" and manifest["metadata"]["name"].endswith("-operator")
    )
    spec: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return spec


@dataclass(frozen=True)
class Start:
    """What one start took, in seconds, and left, in MiB; `writes` are for old exports.

    `peak` is the most that the process had in memory.
    """

    seconds: float
    cpu: float
    rss: float
    peak: float
    writes: int


async def start(
    field: ExportField,
    installation: Installation,
    proxy: CountingProxy,
    *,
    resync_seconds: int,
    settling_seconds: float,
    await_all: Callable[[], None] = lambda: None,
) -> Start:
    """Start the operator and watch it.

    It is ready when it has made the Job of an export that waited for it: it has then seen
    everything that is unfinished, because it decides nothing before.  `await_all` returns when it
    has seen the rest.
    """
    async with field.watched():
        waiting = await field.create(1, 1)
        proxy.requests.clear()
        with installation.operator(proxy.port, resync_seconds) as operator, operator.blamed():
            await field.has(Step.JOB, waiting)
            cpu = operator.cpu()
            await asyncio.to_thread(await_all)
            # Not a wait for anything: what it writes and keeps meanwhile is the measurement.
            await asyncio.sleep(settling_seconds)
            rss, peak = memory(operator.pid)
            if not any(request.names(waiting[0]) for request in proxy.requests):
                raise MeasurementError("its requests don't come through the proxy")
            writes = old_writes(proxy.requests, waiting[0])
    for write in writes:
        print(f"UNEXPECTED at the start: {write.method} {write.target}")
    seconds = field.journal.moment(Step.JOB, waiting[0]) - operator.started
    return Start(seconds, cpu, rss, peak, len(writes))


def old_writes(requests: list[Request], new: str) -> list[Request]:
    """The writes that are neither for the export `new` nor the operator's own Lease."""
    return [
        request
        for request in requests
        if request.is_write and not request.is_for("leases") and not request.names(new)
    ]
