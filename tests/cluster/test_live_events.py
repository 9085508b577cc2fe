"""Two hundred listeners to one job: quick, free for the Kubernetes API, and never left hanging."""

import asyncio
import json
import re
import secrets
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import api_pods
import event_listeners
import pytest
from backupexport_contract.reasons import REST_STATUS
from cluster_api import EXPORTS, ClusterApi, cluster_api
from counting_proxy import CountingProxy, proxy_of
from event_listeners import Listener, listen
from installation import Installation
from local_api import LocalApi, local_api
from playground.rest import Api
from playground.targets import export_manifest, make_target
from playground.tools import ToolError, environment, get, get_raw, kubectl, make_namespace, wait_for
from pod_program import in_pod, output_of

pytestmark = pytest.mark.cluster

LISTENERS = 200
# What waits for a heartbeat instead comes after 15 s.
LONGEST_DELAY = 10.0


def _step(phase: str, percent: int) -> dict[str, Any]:
    sizes = {"dumpedBytes": percent, "estimatedBytes": 100, "display": f"{percent}%"}
    return {"phase": phase, "progress": {"percent": percent, **sizes}}


STEPS = [
    _step("Pending", 0),
    *(_step("Running", percent) for percent in (0, 20, 60, 90)),
    _step("Succeeded", 100),
]


@pytest.fixture
def namespace(installation: Installation) -> Iterator[str]:
    """No operator serves it: what becomes of its jobs is up to the test."""
    del installation
    name = f"backupexport-live-{secrets.token_hex(3)}"
    make_namespace(name)
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


def kubeconfig_through(proxy: CountingProxy, folder: Path) -> str:
    """A kubeconfig that leads to the proxy, which is who the API server then sees."""
    file = folder / "kubeconfig"
    file.write_text(Path(environment()["KUBECONFIG"]).read_text(encoding="utf-8"))
    kubectl(
        "config", "set-cluster", _cluster_of(file), f"--kubeconfig={file}",
        f"--server=http://127.0.0.1:{proxy.port}",
    )  # fmt: skip
    return str(file)


def _cluster_of(file: Path) -> str:
    where = "jsonpath={.clusters[0].name}"
    return kubectl("config", "view", f"--kubeconfig={file}", "--minify", "-o", where)


async def until(holds: Callable[[], bool], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.02)


async def go_through(
    cluster: ClusterApi, namespace: str, name: str, seen: Callable[[int], Awaitable[None]]
) -> list[float]:
    """Bring a job from its beginning to its end; when the API server had each state."""
    times = []
    for number, status in enumerate(STEPS):
        await cluster.patch_status(EXPORTS.format(namespace), name, status)
        times.append(time.time())
        await seen(number)
    return times


async def test_each_sees_every_change_soon_and_the_kubernetes_api_sees_none_of_them(
    namespace: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"alone": "7d6a1a60-6f5e-4c1e-9a43-000000000001"}
    names["heard"] = "7d6a1a60-6f5e-4c1e-9a43-000000000002"
    async with cluster_api(4) as cluster:
        for name in names.values():
            await cluster.create_export(
                namespace, export_manifest(namespace, name, projectId="live")
            )
        with (
            proxy_of(cluster.server, cluster.context) as proxy,
            local_api(
                namespace, tmp_path, {"KUBECONFIG": kubeconfig_through(proxy, tmp_path)}
            ) as api,
        ):
            caller = api.caller("*")

            async def shown(number: int) -> None:
                await asyncio.to_thread(_wait_for_step, caller, names["alone"], number)

            before = len(proxy.requests)
            await go_through(cluster, namespace, names["alone"], shown)
            without = len(proxy.requests) - before

            before = len(proxy.requests)
            listeners = [_listener(api, names["heard"]) for _ in range(LISTENERS)]
            listening = asyncio.create_task(listen(listeners, 900))
            await until(lambda: all(listener.seen for listener in listeners), 240)

            async def heard(number: int) -> None:
                await until(lambda: all(len(one.seen) > number + 1 for one in listeners), 120)

            times = await go_through(cluster, namespace, names["heard"], heard)
            await listening
            with_listeners = len(proxy.requests) - before
            # What is counted are really the API's requests: it asks for a job that it doesn't know.
            unknown = await asyncio.to_thread(caller.call, "GET", f"/api/jobs/{uuid.uuid4()}")
            assert unknown.status == 404
            assert len(proxy.requests) - before == with_listeners + 1
    delays = [
        came - times[number]
        for listener in listeners
        for number, (came, _, _) in enumerate(listener.seen[1:])
    ]
    with capsys.disabled():
        sys.stdout.write(
            f"\n{LISTENERS} listeners: {len(delays)} events, the latest after {max(delays):.3f} s; "
            f"requests to the API server: {without} without them, {with_listeners} with\n"
        )
    for listener in listeners:
        assert [status for _, _, status in listener.seen] == [
            *["pending"] * 2, *["running"] * 4, "completed",
        ]  # fmt: skip
        assert listener.ended
        assert listener.statuses == [200, 204]
    assert max(delays) < LONGEST_DELAY
    assert with_listeners <= without


def _wait_for_step(caller: Api, job_id: str, number: int) -> None:
    phase, percent = STEPS[number]["phase"], STEPS[number]["progress"]["percent"]

    def look() -> bool:
        job = caller.job(job_id)
        wanted = {"status": REST_STATUS[phase], "percent": percent}
        return wanted == {
            "status": job["status"],
            "percent": (job["progress"] or {}).get("percent"),
        }

    wait_for(look, f"step {number}", 120)


def _listener(api: LocalApi, job_id: str) -> Listener:
    where = urlsplit(api.url)
    return Listener(
        str(where.hostname), where.port or 80, f"/api/jobs/{job_id}/events", api.token("*")
    )


def test_a_rolling_restart_leaves_none_hanging(
    installation: Installation,
    connection: dict[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    namespace, api = installation.namespace, f"{installation.release.name}-api"
    tokens = [installation.token() for _ in range(10)]
    # A dump would wait for a lock for some minutes only, and a restart may take as long.
    project = f"live-{secrets.token_hex(3)}"
    make_target(namespace, project, connection, suspend=True)
    exported = installation.everything.export(project_id=project)
    job_id = exported.body["data"]["job_id"]
    old = set(api_pods.names(namespace))
    arguments = (api, "80", f"/api/jobs/{job_id}/events", str(LISTENERS), "1800")
    with in_pod(namespace, event_listeners, *arguments, *tokens) as pod:
        wait_for(lambda: _open_streams(namespace) == LISTENERS, "all listeners", 240)
        began = time.monotonic()
        kubectl("-n", namespace, "rollout", "restart", f"deploy/{api}")
        kubectl("-n", namespace, "rollout", "status", f"deploy/{api}", "--timeout=280s")
        wait_for(lambda: old.isdisjoint(_all_pods(namespace)), "the end of the old pods", 240)
        took = time.monotonic() - began
        wait_for(lambda: _open_streams(namespace) == LISTENERS, "all listeners again", 240)
        make_target(namespace, project, connection, suspend=False)
        fared = json.loads(output_of(namespace, pod, 280))
    wait_for(lambda: _answers(installation), "the forward", 240)
    last = [one["seen"][-1] for one in fared]
    spread = max(came for came, _, _ in last) - min(came for came, _, _ in last)
    with capsys.disabled():
        sys.stdout.write(
            f"\na rolling restart of {took:.0f} s with {LISTENERS} listeners:"
            f" {min(one['connections'] for one in fared)} to"
            f" {max(one['connections'] for one in fared)} connections each,"
            f" {sum(one['cuts'] for one in fared)} of them broken;"
            f" all saw the end within {spread:.3f} s\n"
        )
    assert len(fared) == LISTENERS
    assert all(one["ended"] for one in fared)
    assert {status for _, _, status in last} == {"completed"}
    assert spread < LONGEST_DELAY
    for one in fared:
        # Nobody sees a state twice, nor an older one after a newer.
        versions = [int(version) for _, version, _ in one["seen"]]
        assert all(earlier < later for earlier, later in pairwise(versions)), one
        assert set(one["statuses"]) == {200, 204}, one
        assert one["cuts"] == 0, one
        # One before the restart, one after it, and the one that was told that there is no more.
        assert one["connections"] >= 3


def _all_pods(namespace: str) -> set[str]:
    pods = get("-n", namespace, "pods", "-l", "app.kubernetes.io/component=api")["items"]
    return {pod["metadata"]["name"] for pod in pods}


def _open_streams(namespace: str) -> int:
    return sum(_streams_of(namespace, pod) for pod in api_pods.names(namespace))


def _streams_of(namespace: str, pod: str) -> int:
    """Zero where the pod doesn't answer, because it has just begun or ended."""
    try:
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}:8080/proxy/metrics"
        text = get_raw(path)
    except ToolError:
        return 0
    values = re.findall(r"^backupexport_event_streams (\S+)$", text, re.MULTILINE)
    return int(float(values[0]))


def _answers(installation: Installation) -> bool:
    try:
        return installation.everything.call("GET", "/readyz", timeout=10).status == 200
    except OSError:
        return False
