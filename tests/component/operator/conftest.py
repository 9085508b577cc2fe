"""The operator's own client, for the fake Kubernetes API."""

from collections.abc import AsyncIterator

import pytest
from backupexport_operator.kube.client import connect
from fake_kubernetes.server import FakeKubernetes
from kubernetes.aio import client


@pytest.fixture
async def api_client(kubernetes: FakeKubernetes) -> AsyncIterator[client.ApiClient]:
    """As the operator connects."""
    connected = await connect(20)
    try:
        yield connected
    finally:
        await connected.close()
