"""A real API server keeps the promises that the fake one is held to, so that it can't drift."""

import secrets
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from installation import Installation
from kubernetes.aio import client, config
from kubernetes_promises import PROMISES, Asked, cleared
from playground.tools import environment, kubectl, make_namespace

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def namespace(installation: Installation) -> Iterator[str]:
    """One that no operator watches; the installation has brought the CRDs."""
    name = f"backupexport-promises-{secrets.token_hex(3)}"
    make_namespace(name)
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
async def server(namespace: str) -> AsyncIterator[Asked]:
    configuration = client.Configuration()
    kubeconfig = environment()["KUBECONFIG"]
    await config.load_kube_config(kubeconfig, client_configuration=configuration)
    api_client = client.ApiClient(configuration)
    asked = Asked(api_client, namespace)
    try:
        yield asked
        await cleared(asked)
    finally:
        await api_client.close()


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
async def test_as_the_fake_one(promise: Any, server: Asked) -> None:
    await promise(server)
