"""The API while the Kubernetes API is gone or hangs: a process of this machine, behind a gate."""

import secrets
import time
from collections.abc import Iterator

import pytest
from api_server_gate import api_server_address, kubeconfig_through
from gate import Gate, gate
from local_api import local_api
from playground.rest import Api
from playground.tools import apply, kubectl, make_namespace, wait_for

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def namespace(installation: object) -> Iterator[str]:
    """A namespace that no operator serves; the installation has brought the CRDs."""
    name = f"backupexport-outage-{secrets.token_hex(3)}"
    make_namespace(name)
    apply(
        {
            "apiVersion": "backupexport.dev/v1alpha1",
            "kind": "ExportTarget",
            "metadata": {"name": "shop", "namespace": name},
            "spec": {"projectId": "shop", "secretRef": {"name": "shop-db"}},
        }
    )
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="module")
def api_server() -> Iterator[Gate]:
    with gate(api_server_address()) as made:
        yield made


@pytest.fixture(scope="module")
def api(
    namespace: str, api_server: Gate, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Api]:
    folder = tmp_path_factory.mktemp("outage")
    kubeconfig = kubeconfig_through(api_server, folder)
    with local_api(namespace, folder, {"KUBECONFIG": str(kubeconfig)}) as local:
        yield local.caller("*")


@pytest.mark.parametrize("how", ["stopped", "hanging"])
def test_reading_goes_on_and_writing_says_try_again(api: Api, api_server: Gate, how: str) -> None:
    job_id = api.export(project_id="shop").body["data"]["job_id"]
    wait_for(lambda: _listed(api, job_id), "the job in the cache", 60)
    (api_server.shut if how == "stopped" else api_server.stall)()
    try:
        for _ in range(3):
            _answers_503(api, "POST", "/api/backup/export", {"project_id": "shop"})
        _answers_503(api, "POST", f"/api/jobs/{job_id}/cancel")
        # Only who asks the Kubernetes API can tell whether there is such a project, or such a job.
        _answers_503(api, "POST", "/api/backup/export", {"project_id": "nobody"})
        _answers_503(api, "GET", "/api/jobs/0b7cf3b6-6f2b-4c55-8f6c-0f6a3f0a7f10")
        assert api.call("GET", f"/api/jobs/{job_id}").status == 200
        assert _listed(api, job_id)
        # The last answer holds for a second, for all who ask.
        wait_for(lambda: api.call("GET", "/readyz").status == 503, "the end of readiness", 60)
        ready = api.call("GET", "/readyz")
        assert (ready.status, ready.body["code"]) == (503, "not_ready")
        assert "the Kubernetes API does not answer" in ready.body["detail"]
        assert api.call("GET", "/readyz?exclude=kubernetes-api").status == 200
        assert api.call("GET", "/healthz").status == 200
    finally:
        api_server.open()
    wait_for(lambda: api.call("GET", "/readyz").status == 200, "readiness", 120)
    after = wait_for(lambda: _accepted(api), "an accepted export", 120)
    # Not from a direct read: the watch is back.
    wait_for(lambda: _listed(api, after), "the new job in the cache", 240)


def _answers_503(api: Api, method: str, path: str, body: object = None) -> None:
    began = time.monotonic()
    answer = api.call(method, path, body, timeout=60)
    assert time.monotonic() - began < 15
    assert (answer.status, answer.body["code"]) == (503, "kubernetes_unavailable")
    assert int(answer.headers["retry-after"]) > 0


def _accepted(api: Api) -> str | None:
    answer = api.export(project_id="shop")
    return str(answer.body["data"]["job_id"]) if answer.status == 202 else None


def _listed(api: Api, job_id: str) -> bool:
    return job_id in {job["job_id"] for job in api.call("GET", "/api/jobs").body["data"]}
