"""How requests to the Kubernetes API are named, and that a client's requests are counted."""

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from backupexport_operator.kube.client import call_of, request_trace
from kubernetes.aio import client
from kubernetes.aio.client.exceptions import ApiException

OURS = "/apis/backupexport.dev/v1alpha1/namespaces/n"


@pytest.mark.parametrize(
    ("method", "path", "verb", "resource"),
    [
        ("GET", f"{OURS}/backupexports/a", "get", "backupexports"),
        ("GET", f"{OURS}/exporttargets", "list", "exporttargets"),
        ("PATCH", f"{OURS}/backupexports/a/status", "patch", "backupexports/status"),
        ("PATCH", f"{OURS}/backupexports/a", "patch", "backupexports"),
        ("POST", "/apis/batch/v1/namespaces/n/jobs", "create", "jobs"),
        ("DELETE", "/apis/batch/v1/namespaces/n/jobs/a", "delete", "jobs"),
        ("GET", "/api/v1/namespaces/n/pods", "list", "pods"),
        ("GET", "/api/v1/namespaces/n/pods/a/log", "get", "pods/log"),
        ("POST", "/api/v1/namespaces/n/events", "create", "events"),
        ("PUT", "/apis/coordination.k8s.io/v1/namespaces/n/leases/a", "update", "leases"),
        ("GET", "/apis/backupexport.dev/v1alpha1/backupexports", "list", "backupexports"),
        ("GET", "/apis/backupexport.dev/v1alpha1", "list", "(other)"),
        ("FROBNICATE", f"{OURS}/backupexports/a", "(other)", "backupexports"),
        ("GET", f"{OURS}/backupexports/a/b/c", "get", "(other)"),
        ("GET", "/api/v1/namespaces/n/secrets", "list", "(other)"),
        ("GET", "/", "list", "(other)"),
        ("GET", "", "list", "(other)"),
        ("GET", "/api/v1/namespaces", "list", "(other)"),
    ],
)
def test_names(method: str, path: str, verb: str, resource: str) -> None:
    assert call_of(method, path) == (verb, resource)


async def test_the_kubernetes_client_s_requests_are_counted() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response({}, status=404)

    seen: list[tuple[str, str, int | None]] = []
    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    async with TestServer(app) as server:
        configuration = client.Configuration(host=str(server.make_url("")).rstrip("/"))
        configuration.trace_configs = [request_trace(lambda *call: seen.append(call))]
        async with client.ApiClient(configuration) as api_client:
            with pytest.raises(ApiException, match="404"):
                await client.BatchV1Api(api_client).read_namespaced_job("a", "n")
    assert seen == [("get", "jobs", 404)]


async def test_a_request_without_an_answer_is_counted() -> None:
    seen: list[tuple[str, str, int | None]] = []
    async with TestServer(web.Application()) as server:
        address = server.make_url("/api/v1/namespaces/n/pods")
    async with ClientSession(
        trace_configs=[request_trace(lambda *call: seen.append(call))]
    ) as session:
        with pytest.raises(OSError, match="Cannot connect"):
            await session.get(address)
    assert seen == [("list", "pods", None)]
