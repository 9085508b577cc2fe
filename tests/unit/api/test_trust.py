"""Whom the api trusts: kubectl's and curl's measure, not that of Python 3.13."""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import urllib3
from backupexport_api.auth.jwks import JwksFetch
from backupexport_api.kube.client import KubernetesObjects, connect_lists
from backupexport_api.limits.storage import _connect
from kubeconfigs import KUBECONFIG
from urllib3.connection import HTTPSConnection
from urllib3.util.ssl_ import create_urllib3_context


@pytest.fixture(autouse=True)
def _as_python_3_13(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def strict(create: Callable[..., ssl.SSLContext]) -> Callable[..., ssl.SSLContext]:
        def made(*args: Any, **kwargs: Any) -> ssl.SSLContext:
            context = create(*args, **kwargs)
            context.verify_flags |= ssl.VERIFY_X509_STRICT
            return context

        return made

    monkeypatch.setattr(ssl, "create_default_context", strict(ssl.create_default_context))
    # urllib3 goes by the version.
    monkeypatch.setattr(
        "backupexport_runtime.cluster.create_urllib3_context", strict(create_urllib3_context)
    )
    file = tmp_path / "kubeconfig"
    file.write_text(KUBECONFIG, encoding="ascii")
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    for module in ("kubernetes", "kubernetes.aio"):
        where = f"{module}.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION"
        monkeypatch.setattr(where, str(file))


def test_a_jwks_server() -> None:
    context = JwksFetch("https://127.0.0.1:1")._http.connection_pool_kw["ssl_context"]
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def test_the_kubernetes_api_by_the_lists_unverified(tmp_path: Path) -> None:
    """As the kubeconfig says; and the request gets as far as the network."""
    file = tmp_path / "kubeconfig"
    text = KUBECONFIG.replace("server:", "insecure-skip-tls-verify: true, server:")
    file.write_text(text, encoding="ascii")
    with pytest.raises(urllib3.exceptions.MaxRetryError, match="refused"):
        connect_lists("n")(plural="backupexports")


def test_the_kubernetes_api_by_the_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each connection with a context of its own: the informers' threads connect at one time."""
    contexts: list[ssl.SSLContext] = []

    def connect(connection: HTTPSConnection) -> None:
        assert connection.ssl_context is not None
        contexts.append(connection.ssl_context)
        raise ConnectionRefusedError

    monkeypatch.setattr(HTTPSConnection, "connect", connect)
    list_objects = connect_lists("n")
    for plural in ("backupexports", "exporttargets"):
        with pytest.raises(urllib3.exceptions.MaxRetryError):
            list_objects(plural=plural)
    assert len({id(context) for context in contexts}) == len(contexts) >= 2
    for context in contexts:
        assert not context.verify_flags & ssl.VERIFY_X509_STRICT
        assert context.verify_mode is ssl.CERT_REQUIRED


async def test_the_kubernetes_api_by_the_single_calls() -> None:
    objects = await KubernetesObjects.connect("n")
    context = objects._api_client.rest_client.ssl_context
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
    assert context.verify_mode is ssl.CERT_REQUIRED
    await objects.close()


def test_the_storage_of_the_rate_limit() -> None:
    made = _connect("rediss://127.0.0.1:1").storage.connection_pool.make_connection()
    assert made.ssl_exclude_verify_flags == [ssl.VERIFY_X509_STRICT]
    assert _connect("redis://127.0.0.1:1")
