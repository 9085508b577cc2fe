"""A fake Kubernetes API, to which every client's kubeconfig leads."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fake_kubernetes.server import FakeKubernetes
from kubernetes.aio.config import kube_config
from kubernetes.config import kube_config as blocking_kube_config


@pytest.fixture(autouse=True)
def _no_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each client would read all of the machine's certificates, for a server without TLS."""
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.setenv(name, "/dev/null")


@pytest.fixture
async def kubernetes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[FakeKubernetes]:
    """The server, on the test's own event loop."""
    async with FakeKubernetes().serving() as fake:
        file = str(fake.write_kubeconfig(tmp_path))
        monkeypatch.setenv("KUBECONFIG", file)
        # The client library reads the variable when it is imported.
        for library in (kube_config, blocking_kube_config):
            monkeypatch.setattr(library, "KUBE_CONFIG_DEFAULT_LOCATION", file)
        yield fake
