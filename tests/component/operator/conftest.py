"""A fake Kubernetes API, and the operator's own client for it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from backupexport_operator.kube.client import connect
from fake_kubernetes.server import FakeKubernetes
from kubernetes.aio import client
from kubernetes.aio.config import kube_config


@pytest.fixture(autouse=True)
def _no_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each client would read all of the machine's certificates, for a server without TLS."""
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.setenv(name, "/dev/null")


@pytest.fixture
async def kubernetes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[FakeKubernetes]:
    """The server, to which the kubeconfig leads."""
    async with FakeKubernetes().serving() as fake:
        file = str(fake.write_kubeconfig(tmp_path))
        monkeypatch.setenv("KUBECONFIG", file)
        # The client library reads the variable when it is imported.
        monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", file)
        yield fake


@pytest.fixture
async def api_client(kubernetes: FakeKubernetes) -> AsyncIterator[client.ApiClient]:
    """As the operator connects."""
    connected = await connect(20)
    try:
        yield connected
    finally:
        await connected.close()
