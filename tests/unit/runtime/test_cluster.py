"""Which cluster a program finds: its pod's own before kubeconfig's."""

from collections.abc import Callable
from pathlib import Path
from unittest.mock import MagicMock

import kubernetes
import pytest
from backupexport_runtime import cluster

KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: it
contexts: [{name: it, context: {cluster: it, user: it}}]
clusters: [{name: it, cluster: {server: "https://kubeconfig.example:1"}}]
users: [{name: it, user: {token: t}}]
"""


@pytest.fixture(autouse=True)
def _kubeconfig(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text(KUBECONFIG, encoding="ascii")
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    for package in ("kubernetes", "kubernetes.aio"):
        where = f"{package}.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION"
        monkeypatch.setattr(where, str(file))


@pytest.fixture
def in_a_pod(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], None]:
    """Give what the kubelet gives a pod; return what takes the token away."""
    token, authority = tmp_path / "token", tmp_path / "ca.crt"
    token.write_text("the-pod-s", encoding="ascii")
    authority.write_text("-----BEGIN CERTIFICATE-----", encoding="ascii")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    for package in ("kubernetes", "kubernetes.aio"):
        module = f"{package}.config.incluster_config"
        monkeypatch.setattr(f"{module}.SERVICE_TOKEN_FILENAME", str(token))
        monkeypatch.setattr(f"{module}.SERVICE_CERT_FILENAME", str(authority))
    return token.unlink


async def test_kubeconfig_outside_of_a_pod() -> None:
    waiting = await cluster.async_configuration(7)
    assert (waiting.host, waiting.connection_pool_maxsize) == ("https://kubeconfig.example:1", 7)
    assert cluster.blocking_client().configuration.host == "https://kubeconfig.example:1"


async def test_the_pod_s_own_cluster(
    in_a_pod: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await cluster.async_configuration(1)).host == "https://10.0.0.1:443"
    # It would read the authority, which is none.
    api_client = MagicMock()
    monkeypatch.setattr(kubernetes.client, "ApiClient", api_client)
    cluster.blocking_client()
    (configuration,) = api_client.call_args.args
    assert configuration.host == "https://10.0.0.1:443"


async def test_a_pod_without_a_token_is_told(in_a_pod: Callable[[], None]) -> None:
    take_token_away = in_a_pod
    take_token_away()
    with pytest.raises(kubernetes.aio.config.ConfigException, match="token"):
        await cluster.async_configuration(1)
    with pytest.raises(kubernetes.config.ConfigException, match="token"):
        cluster.blocking_client()
