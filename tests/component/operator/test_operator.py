"""The whole operator, kopf and all, over the fake Kubernetes API; the test plays the cluster."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import builders
import pytest
from backupexport_contract import names
from backupexport_contract.runner_protocol import TASK_EXPORT, Outcome, Progress, progress_line
from backupexport_operator.settings import Settings
from fake_kubernetes.faults import Fault
from fake_kubernetes.server import CUT, END, GONE, NAMESPACE, FakeKubernetes
from fake_kubernetes.storage import Change
from kubernetes.aio import client
from waiting import until
from whole_operator import EXPORTS, WATCHES, whole_operator


class Kubelet:
    """The Job controller and the kubelet: each Job gets a pod, which `finish` ends well."""

    def __init__(self, kubernetes: FakeKubernetes) -> None:
        self.kubernetes = kubernetes
        kubernetes.listeners.append(self._start)
        self.finishes_at_once = False

    def finish(self, job_name: str, report: str | None = None) -> None:
        """Of the export's file, or as `report` says, a termination message."""
        ended = builders.ended(0, Outcome(builders.ARTIFACT))
        if report is not None:
            ended["terminated"]["message"] = report
        outcome = builders.pod_status(ended)
        self.kubernetes.change("pods", f"{job_name}-pod", {"status": outcome})
        self.kubernetes.change("jobs", job_name, {"status": builders.complete()})

    def _start(self, change: Change) -> None:
        if change.kind.plural != "jobs" or change.old is not None or change.new is None:
            return
        job = change.new
        assert job["metadata"]["labels"][names.LABEL_TASK] == TASK_EXPORT
        loop = asyncio.get_running_loop()
        loop.call_soon(self._run, job)

    def _run(self, job: dict[str, Any]) -> None:
        name = job["metadata"]["name"]
        self.kubernetes.seed("pods", builders.pod_manifest(job, f"{name}-pod"))
        if self.finishes_at_once:
            self.finish(name)


@pytest.fixture
def kubelet(kubernetes: FakeKubernetes) -> Kubelet:
    return Kubelet(kubernetes)


@pytest.fixture
async def _operator(kubernetes: FakeKubernetes) -> AsyncIterator[None]:
    """Runs, and leads."""
    kubernetes.seed("exporttargets", builders.target_manifest(maxConcurrent=100))
    settings = Settings(
        namespace=NAMESPACE,
        runner_image="i",
        storages=builders.STORAGES,
        resync_seconds=1,
        progress_seconds=0.1,
        storage_checks=False,
    )
    async with whole_operator(kubernetes, settings):
        yield


def status(kubernetes: FakeKubernetes, name: str) -> dict[str, Any]:
    found: dict[str, Any] = kubernetes.objects(EXPORTS)[name].get("status", {})
    return found


def phases(kubernetes: FakeKubernetes) -> set[str]:
    return {str(status(kubernetes, name).get("phase")) for name in kubernetes.objects(EXPORTS)}


async def ask(api_client: client.ApiClient, name: str) -> None:
    """Somebody creates a BackupExport."""
    api = client.CustomObjectsApi(api_client)
    where = (names.GROUP, names.VERSION, NAMESPACE, EXPORTS)
    await api.create_namespaced_custom_object(*where, builders.export_manifest(name))


def made_jobs(kubernetes: FakeKubernetes) -> list[str]:
    calls = [call for call in kubernetes.calls if str(call) == "create jobs"]
    return sorted(call.body["metadata"]["name"] for call in calls if call.status == 201)


@pytest.mark.usefixtures("_operator")
async def test_an_export_from_its_creation_to_its_end(
    kubernetes: FakeKubernetes, kubelet: Kubelet, api_client: client.ApiClient
) -> None:
    await ask(api_client, "nightly")
    await until(lambda: phases(kubernetes) == {"Running"})
    kubernetes.log("bex-nightly-pod", progress_line(Progress(42, 42, 100)))
    await until(lambda: status(kubernetes, "nightly").get("progress", {}).get("percent") == 42)
    kubelet.finish("bex-nightly")
    await until(lambda: phases(kubernetes) == {"Succeeded"})
    kubernetes.log("bex-nightly-pod", ends=True)
    posted = kubernetes.objects
    reasons = {"Accepted", "Started", "Completed"}
    await until(lambda: {it["reason"] for it in posted("events").values()} == reasons)
    ready = kubernetes.objects("exporttargets")["t"]["status"]["conditions"][0]
    assert (ready["type"], ready["status"]) == ("Ready", "True")
    assert made_jobs(kubernetes) == ["bex-nightly"]


LAST_VERSION = {
    "artifact": {
        "path": "p/f", "size_bytes": 1, "uncompressed_bytes": 2, "sha256": "ab",
        "server_version": "17.5", "dump_version": "17.6",
    },
    "message": None,
}  # fmt: skip
NEXT_VERSION = {
    "version": 2,
    "artifact": LAST_VERSION["artifact"] | {  # type: ignore[operator]
        "restore_with": "psql", "copies": [{"kind": "s3"}], "encrypted_to": ["age1"],
        "warnings": [{"code": "a", "message": "A.", "object": "t"}],
    },
    "message": None,
    "verification": {"level": "archive", "status": "verified"},
}  # fmt: skip


@pytest.mark.usefixtures("_operator")
@pytest.mark.parametrize("report", [LAST_VERSION, NEXT_VERSION], ids=["last", "next"])
async def test_an_export_whose_runner_is_of_another_version(
    kubernetes: FakeKubernetes,
    kubelet: Kubelet,
    api_client: client.ApiClient,
    report: dict[str, Any],
) -> None:
    """As it goes on while the operator is upgraded, or taken back."""
    await ask(api_client, "nightly")
    await until(lambda: phases(kubernetes) == {"Running"})
    progress = json.loads(progress_line(Progress(42, 42, 100))) | {"version": 2, "tables": [1]}
    if report is LAST_VERSION:
        progress = {name: progress[name] for name in progress if name not in ("version", "tables")}
    kubernetes.log("bex-nightly-pod", json.dumps(progress))
    await until(lambda: status(kubernetes, "nightly").get("progress", {}).get("percent") == 42)
    kubelet.finish("bex-nightly", json.dumps(report))
    await until(lambda: phases(kubernetes) != {"Running"})
    kubernetes.log("bex-nightly-pod", ends=True)
    ended = status(kubernetes, "nightly")
    assert ended["phase"] == "Succeeded"
    assert ended["artifact"].items() >= builders.ARTIFACT_STATUS.items()
    warned = [] if report is LAST_VERSION else [{"code": "a", "message": "A."}]
    assert ended.get("warnings", []) == warned


@pytest.mark.usefixtures("_operator")
@pytest.mark.parametrize("end", [GONE, CUT, END], ids=["gone", "cut", "end"])
async def test_what_happens_while_no_watch_is_open_is_heard_of(
    kubernetes: FakeKubernetes, kubelet: Kubelet, api_client: client.ApiClient, end: bytes
) -> None:
    kubelet.finishes_at_once = True
    held = Fault("(list|watch) .*", is_held=True, times=99)
    kubernetes.faults.append(held)
    for plural in WATCHES:
        kubernetes.tell_watches(plural, end)
    await until(lambda: not any(kubernetes.watching(plural) for plural in WATCHES))
    await ask(api_client, "nightly")
    kubernetes.compact()
    held.release()
    await until(lambda: phases(kubernetes) == {"Succeeded"})
    assert made_jobs(kubernetes) == ["bex-nightly"]


@pytest.mark.usefixtures("_operator")
async def test_whatever_becomes_of_its_requests_each_export_gets_one_job_and_its_end(
    kubernetes: FakeKubernetes, kubelet: Kubelet, api_client: client.ApiClient
) -> None:
    """Some of its writes are refused, some carried out and not answered, some cut."""
    kubelet.finishes_at_once = True
    kinds: list[dict[str, Any]] = [
        {"status": 429, "retry_after": 1},
        {"status": 504, "is_stored": True},
        {"status": 500},
        {"is_cut": True, "is_stored": True},
        {"is_cut": True},
        {"status": 503, "is_stored": True},
    ]
    kubernetes.faults += [
        Fault("create jobs|patch backupexports/status", skip=2 * number, **kind)
        for number, kind in enumerate(kinds)
    ]
    wanted = sorted(f"e{number}" for number in range(12))
    for name in wanted:
        await ask(api_client, name)
    await until(lambda: phases(kubernetes) == {"Succeeded"})
    assert all(fault.met == 1 for fault in kubernetes.faults)
    assert sorted(kubernetes.objects("jobs")) == [names.job_name(name) for name in wanted]
    assert all(status(kubernetes, name)["artifact"]["sha256"] == "ab" for name in wanted)
