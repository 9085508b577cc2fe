"""The fake API server itself: what a real one promises, and what only the fake can do."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import kopf
import pytest
from fake_kubernetes.faults import Fault
from fake_kubernetes.server import CUT, END, GONE, NAMESPACE, FakeKubernetes
from kubernetes import client as blocking_client
from kubernetes.aio import client, watch
from kubernetes.aio.client.exceptions import ApiException
from kubernetes_promises import EXPORTS, JOBS, PROMISES, Asked, export, job
from waiting import until

OURS = ("backupexport.dev", "v1alpha1", NAMESPACE, "backupexports")


@pytest.fixture
async def kubernetes() -> AsyncIterator[FakeKubernetes]:
    async with FakeKubernetes().serving() as fake:
        yield fake


@pytest.fixture
async def api_client(kubernetes: FakeKubernetes) -> AsyncIterator[client.ApiClient]:
    api_client = client.ApiClient(client.Configuration(host=kubernetes.url))
    try:
        yield api_client
    finally:
        await api_client.close()


@pytest.fixture
def server(api_client: client.ApiClient) -> Asked:
    return Asked(api_client, NAMESPACE)


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
async def test_as_a_real_api_server(promise: Any, server: Asked) -> None:
    await promise(server)


async def test_after_a_compaction_lists_and_watches_begin_anew(
    kubernetes: FakeKubernetes, server: Asked
) -> None:
    kubernetes.seed("backupexports", export("a"), export("b"))
    _, page = await server.list(EXPORTS, limit="1")
    kubernetes.compact()
    code, said = await server.list(EXPORTS, **{"continue": page["metadata"]["continue"]})
    assert (code, said["reason"]) == (410, "Expired")
    version = page["metadata"]["resourceVersion"]
    async with server.watching(EXPORTS, resourceVersion=version) as following:
        kubernetes.seed("backupexports", export("c"))
        assert (await following())[0] == "ADDED", "nothing was lost since then"
    kubernetes.compact()
    async with server.watching(EXPORTS, resourceVersion=version) as following:
        sort, said = await following()
    assert (sort, said["code"], said["reason"]) == ("ERROR", 410, "Expired")


async def test_a_watch_from_a_later_version_is_told_nothing_before_it(
    kubernetes: FakeKubernetes, server: Asked
) -> None:
    later = str(kubernetes.storage.version + 1)
    async with server.watching(EXPORTS, resourceVersion=later) as following:
        kubernetes.seed("backupexports", export("a"), export("b"))
        assert (await following())[1]["metadata"]["name"] == "b"


async def test_bookmarks_only_for_those_that_want_them(
    kubernetes: FakeKubernetes, server: Asked
) -> None:
    want = {"resourceVersion": "100", "allowWatchBookmarks": "true"}
    async with server.watching(EXPORTS, **want) as one, server.watching(EXPORTS) as other:
        kubernetes.send_bookmarks("backupexports")
        kubernetes.seed("backupexports", export("a"))
        sort, bookmark = await one()
        assert (sort, bookmark["kind"]) == ("BOOKMARK", "BackupExport")
        assert (await one())[0] == "ADDED"
        assert (await other())[0] == "ADDED"


async def test_a_watch_ends_in_every_way(kubernetes: FakeKubernetes, server: Asked) -> None:
    async with server.opened("GET", server.path(EXPORTS), watch="1", timeoutSeconds="0.01") as it:
        assert await it.read() == b""
    async with server.opened("GET", server.path(EXPORTS), watch="1") as it:
        kubernetes.tell_watches("backupexports", END)
        assert await it.read() == b""
    async with server.opened("GET", server.path(EXPORTS), watch="1") as it:
        kubernetes.tell_watches("backupexports", GONE)
        assert json.loads(await it.read())["object"]["code"] == 410
    async with server.opened("GET", server.path(EXPORTS), watch="1") as it:
        kubernetes.tell_watches("backupexports", b"no event\n")
        assert await it.content.readline() == b"no event\n"
        kubernetes.tell_watches("backupexports", CUT)
        with pytest.raises(aiohttp.ClientError):
            await it.read()
    await until(lambda: kubernetes.watching("backupexports") == 0)


async def test_the_clients_own_watch(kubernetes: FakeKubernetes, api_client: Any) -> None:
    kubernetes.seed("backupexports", export("a"))
    api = client.CustomObjectsApi(api_client)
    seen = []
    stream = watch.Watch().stream(
        api.list_namespaced_custom_object, *OURS, resource_version="100", timeout_seconds=60
    )

    async def follow() -> None:
        async for event in stream:
            seen.append(event["type"])
            kubernetes.tell_watches("backupexports", GONE)

    with pytest.raises(ApiException) as gone:
        await follow()
    assert (seen, gone.value.status) == (["ADDED"], 410)


@pytest.mark.parametrize("status", [429, 500, 503, 504])
async def test_a_request_is_refused(kubernetes: FakeKubernetes, server: Asked, status: int) -> None:
    fault = Fault("create backupexports", status=status, skip=1, retry_after=3)
    kubernetes.faults.append(fault)
    codes = []
    for name in "abc":
        path = server.path(EXPORTS)
        async with server.opened("POST", path, export(name)) as response:
            codes.append(response.status)
            said = await response.json()
            if response.status == status:
                assert response.headers["Retry-After"] == "3"
                assert (said["kind"], said["code"]) == ("Status", status)
    assert codes == [201, status, 201]
    assert list(kubernetes.objects("backupexports")) == ["a", "c"]
    assert [call.status for call in kubernetes.calls] == codes
    assert [str(call) for call in kubernetes.calls] == ["create backupexports"] * 3
    assert fault.met == 1


async def test_stored_but_answered_otherwise(kubernetes: FakeKubernetes, server: Asked) -> None:
    kubernetes.faults.append(Fault("create backupexports", status=504, is_stored=True))
    code, said = await server.create(EXPORTS, export("a"))
    assert (code, said["reason"]) == (504, "Timeout")
    assert list(kubernetes.objects("backupexports")) == ["a"]
    # A refusal of its own comes before the fault.
    kubernetes.faults.append(Fault("create backupexports", status=504, is_stored=True))
    assert (await server.create(EXPORTS, export("a")))[0] == 409


@pytest.mark.parametrize("is_stored", [False, True])
async def test_a_connection_is_cut(
    kubernetes: FakeKubernetes, server: Asked, is_stored: bool
) -> None:
    kubernetes.faults.append(Fault("patch backupexports/status", is_cut=True, is_stored=is_stored))
    await server.create(EXPORTS, export("a"))
    with pytest.raises(aiohttp.ClientError):
        await server.patch(EXPORTS, "a/status", {"status": {"phase": "Pending"}})
    assert ("status" in kubernetes.objects("backupexports")["a"]) is is_stored
    assert kubernetes.calls[-1].status is None


@pytest.mark.parametrize("is_stored", [False, True])
async def test_a_request_is_held(
    kubernetes: FakeKubernetes, server: Asked, is_stored: bool
) -> None:
    fault = Fault("create jobs", is_held=True, is_stored=is_stored, times=2)
    kubernetes.faults.append(fault)
    asked = asyncio.create_task(server.create(JOBS, job("a")))
    await until(lambda: fault.met == 1)
    given_up = asyncio.create_task(server.create(JOBS, job("b")))
    await until(lambda: fault.met == 2)
    assert list(kubernetes.objects("jobs")) == (["a", "b"] if is_stored else [])
    given_up.cancel()
    await asyncio.gather(given_up, return_exceptions=True)
    await until(lambda: fault.given_up == 1)
    fault.release()
    assert (await asked)[0] == 201
    assert ("b" in kubernetes.objects("jobs")) is is_stored


async def test_the_log_of_a_pod(kubernetes: FakeKubernetes, server: Asked) -> None:
    kubernetes.seed("pods", {"metadata": {"name": "a"}})
    kubernetes.log("a", "1", "2", "3")
    pods = ("api/v1", "pods")
    query = {"container": "runner", "follow": "true", "tailLines": "2"}
    async with server.opened("GET", server.path(pods, "a", "log"), **query) as response:
        assert await response.content.readline() == b"2\n"
        kubernetes.log("a", "4", ends=True)
        assert await response.content.read() == b"3\n4\n"
    assert (await server.send("GET", server.path(pods, "b", "log")))[0] == 404


async def test_a_pod_on_a_node_ends_when_its_node_says_so(
    kubernetes: FakeKubernetes, server: Asked
) -> None:
    pods = ("api/v1", "pods")
    for name, node in (("a", "node"), ("b", "")):
        kubernetes.seed("pods", {"metadata": {"name": name}, "spec": {"nodeName": node}})
        await server.delete(pods, name)
    (pod,) = kubernetes.objects("pods").values()
    assert (pod["metadata"]["name"], "deletionTimestamp" in pod["metadata"]) == ("a", True)
    await server.delete(pods, "a", gracePeriodSeconds=0)
    assert kubernetes.objects("pods") == {}


async def test_a_namespace_that_ends_takes_nothing_new(
    kubernetes: FakeKubernetes, server: Asked
) -> None:
    await server.create(EXPORTS, export("a"))
    kubernetes.end_namespace()
    code, said = await server.create(JOBS, job("a"))
    assert (code, said["details"]["causes"][0]["reason"]) == (403, "NamespaceTerminating")
    assert (await server.delete(EXPORTS, "a"))[0] == 200
    _, namespace = await server.send("GET", f"/api/v1/namespaces/{NAMESPACE}")
    assert "deletionTimestamp" in namespace["metadata"]


async def test_a_blocking_client(kubernetes: FakeKubernetes) -> None:
    configuration = blocking_client.Configuration()
    configuration.host = kubernetes.url
    api = blocking_client.CustomObjectsApi(blocking_client.ApiClient(configuration))

    def work() -> None:
        made = api.create_namespaced_custom_object(*OURS, export("a"))
        assert api.list_namespaced_custom_object(*OURS)["items"] == [made]
        response = api.list_namespaced_custom_object(*OURS, watch=True, _preload_content=False)
        assert json.loads(next(response.stream()))["type"] == "ADDED"
        response.close()
        with pytest.raises(blocking_client.ApiException) as missing:
            api.get_namespaced_custom_object(*OURS, "b")
        assert missing.value.status == 404

    await asyncio.to_thread(work)


async def test_kopf_itself(
    kubernetes: FakeKubernetes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It finds the kinds, lists, watches, and goes on after a 410."""
    monkeypatch.setenv("KUBECONFIG", str(kubernetes.write_kubeconfig(tmp_path)))
    kubernetes.seed("backupexports", export("a"))
    registry, seen = kopf.OperatorRegistry(), list[str]()
    settings = kopf.OperatorSettings()
    settings.scanning.disabled = True
    settings.posting.enabled = False

    async def told(name: str, **_: Any) -> None:
        seen.append(name)

    kopf.on.login(registry=registry)(kopf.login_with_kubeconfig)
    kopf.on.event(*OURS[:2], OURS[3], registry=registry)(told)
    stop, ready = asyncio.Event(), asyncio.Event()
    operator = asyncio.create_task(
        kopf.operator(
            registry=registry,
            settings=settings,
            namespaces=[NAMESPACE],
            standalone=True,
            stop_flag=stop,
            ready_flag=ready,
        )
    )
    await until(lambda: seen == ["a"])
    kubernetes.seed("backupexports", export("b"))
    await until(lambda: seen == ["a", "b"])
    kubernetes.tell_watches("backupexports", GONE)
    kubernetes.seed("backupexports", export("c"))
    await until(lambda: "c" in seen)
    stop.set()
    await operator
