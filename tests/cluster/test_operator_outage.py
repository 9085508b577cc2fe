"""The operator while the Kubernetes API is gone or hangs: a process here, behind a gate."""

import secrets
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from api_server_gate import api_server_address, kubeconfig_through
from gate import gate
from playground.forward import free_port
from playground.processes import running, wait_until_served
from playground.tools import ROOT, get, kubectl, make_namespace, wait_for

pytestmark = pytest.mark.cluster


@pytest.fixture
def namespace(installation: object) -> Iterator[str]:
    """A namespace that no other operator serves; the installation has brought the CRDs."""
    name = f"backupexport-away-{secrets.token_hex(3)}"
    make_namespace(name)
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


def holder(namespace: str) -> str:
    lease = get("-n", namespace, "lease", "backupexport-operator")
    return str(lease["spec"]["holderIdentity"])


def test_a_leader_outlives_every_outage_as_the_same_process(namespace: str, tmp_path: Path) -> None:
    log, port = tmp_path / "operator.log", free_port()

    def led(times: int) -> bool:
        return log.read_text().count(" leads\n") == times

    def lost(times: int) -> bool:
        return log.read_text().count("leads no more") == times

    with gate(api_server_address()) as api_server:
        settings = {
            "KUBECONFIG": str(kubeconfig_through(api_server, tmp_path)),
            "PYTHONPATH": f"{ROOT}/operator:{ROOT}/crds",
            "BACKUPEXPORT_NAMESPACE": namespace,
            "BACKUPEXPORT_RUNNER_IMAGE": "none",
            "BACKUPEXPORT_STORAGES": '{"default": {"volume": {"claim": "none"}}}',
            "BACKUPEXPORT_STORAGE_CHECKS": "false",
            "BACKUPEXPORT_HTTP_PORT": str(port),
            "BACKUPEXPORT_LOG_FORMAT": "text",
        }
        with running("-m", "backupexport_operator", settings=settings, log=log) as process:
            wait_until_served(process, f"http://127.0.0.1:{port}/readyz", log)
            wait_for(partial(led, 1), "the first time of leading", 60)
            for outages, way in enumerate((api_server.shut, api_server.stall), start=1):
                way()
                wait_for(partial(lost, outages), "the insight", 60)
                api_server.open()
                wait_for(partial(led, outages + 1), "the next time of leading", 120)
                wait_until_served(process, f"http://127.0.0.1:{port}/readyz", log)
            process.terminate()
            assert process.wait(60) == 0
        assert holder(namespace) == ""
    assert "Traceback" not in log.read_text()
