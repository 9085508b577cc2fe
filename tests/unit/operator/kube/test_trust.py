"""Which API servers are trusted: kubectl's measure, not that of Python 3.13.

There, a cluster's old authority without a key usage, or a certificate without an Authority Key
Identifier, would be refused.
"""

import logging
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kopf
import pytest
from backupexport_operator.kube.client import connect
from backupexport_operator.kube.kopf_run import login
from kubeconfigs import KUBECONFIG


@pytest.fixture(autouse=True)
def _as_python_3_13(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    create: Callable[..., ssl.SSLContext] = ssl.create_default_context

    def strict(*args: Any, **kwargs: Any) -> ssl.SSLContext:
        context = create(*args, **kwargs)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", strict)
    file = tmp_path / "kubeconfig"
    file.write_text(KUBECONFIG, encoding="ascii")
    monkeypatch.setenv("KUBECONFIG", str(file))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    # The client reads the variable when it is imported.
    monkeypatch.setattr("kubernetes.aio.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(file))


def check(context: ssl.SSLContext) -> None:
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def test_kopfs() -> None:
    connection = login(logger=logging.getLogger("test"), settings=kopf.OperatorSettings())
    assert connection is not None
    assert (connection.server, connection.token) == ("https://127.0.0.1:1", "t")
    check(connection.as_ssl_context())


async def test_the_clients() -> None:
    api_client = await connect(1)
    check(api_client.rest_client.ssl_context)
    await api_client.close()
