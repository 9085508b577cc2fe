"""No write after the Lease's time: what a late one could meet is another replica's."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import builders
import pytest
from backupexport_contract import names
from backupexport_contract.backup_export import BackupExport
from backupexport_operator.kube.client import NotLeadingError, connect
from backupexport_operator.kube.cluster import Cluster
from backupexport_operator.leader.decision import Timings
from backupexport_operator.leader.election import Leadership
from backupexport_operator.leader.lease import LeaseStore
from fake_kubernetes.faults import Fault
from fake_kubernetes.server import NAMESPACE, FakeKubernetes
from kubernetes.aio import client
from waiting import until

Connect = Callable[[Callable[[], float]], Awaitable[client.ApiClient]]
Write = Callable[[client.CustomObjectsApi], Awaitable[Any]]

EXPORTS = (names.GROUP, names.VERSION, NAMESPACE, names.EXPORT_PLURAL)
# Every method that writes.
WRITES: dict[str, Write] = {
    "create": lambda api: api.create_namespaced_custom_object(
        *EXPORTS, builders.export_manifest("new", uid="")
    ),
    "update": lambda api: api.replace_namespaced_custom_object(
        *EXPORTS, builders.NAME, builders.export_manifest(spec={"cancel": True})
    ),
    "patch": lambda api: api.patch_namespaced_custom_object(
        *EXPORTS,
        builders.NAME,
        {"spec": {"cancel": True}},
        _content_type="application/merge-patch+json",
    ),
    "delete": lambda api: api.delete_namespaced_custom_object(*EXPORTS, builders.NAME),
}


@pytest.fixture
async def connected(kubernetes: FakeKubernetes) -> AsyncIterator[Connect]:
    """Connect as a replica that may write for so long."""
    kubernetes.seed("backupexports", builders.export_manifest())
    clients: list[client.ApiClient] = []

    async def with_seconds(seconds_to_write: Callable[[], float]) -> client.ApiClient:
        clients.append(await connect(5, seconds_to_write))
        return clients[-1]

    yield with_seconds
    for api_client in clients:
        await api_client.close()


def not_leading() -> float:
    raise NotLeadingError("the Lease is not held any more")


@pytest.mark.parametrize("verb", WRITES)
async def test_who_does_not_lead_sends_no_write(
    kubernetes: FakeKubernetes, connected: Connect, verb: str
) -> None:
    api_client = await connected(not_leading)
    with pytest.raises(NotLeadingError):
        await WRITES[verb](client.CustomObjectsApi(api_client))
    assert kubernetes.calls == []


async def test_who_does_not_lead_may_read(kubernetes: FakeKubernetes, connected: Connect) -> None:
    reader = Cluster(await connected(not_leading), NAMESPACE)
    assert await reader.read_export(builders.NAME) is not None
    assert [str(call) for call in kubernetes.calls] == ["get backupexports"]


async def test_a_read_ends_in_time_by_itself(
    kubernetes: FakeKubernetes, connected: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backupexport_operator.kube.client.REQUEST_TIMEOUT", 0.05)
    kubernetes.faults.append(Fault("get backupexports", is_held=True))
    reader = Cluster(await connected(not_leading), NAMESPACE)
    async with asyncio.timeout(60) as patience:
        with pytest.raises(TimeoutError):
            await reader.read_export(builders.NAME)
    assert not patience.expired()


@pytest.mark.parametrize("verb", WRITES)
async def test_a_write_ends_with_the_time_to_write(
    kubernetes: FakeKubernetes, connected: Connect, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    """Its connection is gone by then, so what comes late reaches nobody."""
    before = kubernetes.objects("backupexports")
    held = Fault(f"{verb} backupexports", is_held=True)
    kubernetes.faults.append(held)
    # Patient for longer, if it were not for that; and it reaches the server in that time.
    monkeypatch.setattr("backupexport_operator.kube.client.REQUEST_TIMEOUT", 600)
    api_client = await connected(lambda: 2)
    async with asyncio.timeout(60) as patience:
        with pytest.raises(TimeoutError):
            await WRITES[verb](client.CustomObjectsApi(api_client))
    assert not patience.expired()
    await until(lambda: held.given_up == 1)
    assert kubernetes.objects("backupexports") == before


async def test_more_time_to_write_is_not_more_patience(
    kubernetes: FakeKubernetes, connected: Connect
) -> None:
    kubernetes.faults.append(Fault("create backupexports", is_held=True))
    api = client.CustomObjectsApi(await connected(lambda: 1000))
    async with asyncio.timeout(60):
        with pytest.raises(TimeoutError):
            await api.create_namespaced_custom_object(
                *EXPORTS, builders.export_manifest("new"), _request_timeout=0.05
            )


async def test_it_is_asked_before_each_write(
    kubernetes: FakeKubernetes, connected: Connect
) -> None:
    answers = [60.0]

    def seconds_to_write() -> float:
        return answers.pop() if answers else not_leading()

    writer = Cluster(await connected(seconds_to_write), NAMESPACE)
    export = BackupExport.model_validate(kubernetes.objects("backupexports")[builders.NAME])
    assert await writer.patch_export_status(export, {"phase": "Pending"}) is not None
    with pytest.raises(NotLeadingError):
        await writer.patch_export_status(export, {"phase": "Running"})
    assert len(kubernetes.calls) == 1


async def test_a_leader_that_slept_through_its_leases_end_writes_nothing(
    kubernetes: FakeKubernetes, connected: Connect, api_client: client.ApiClient
) -> None:
    """The election and the client together: time passes while nothing of the process runs."""
    passed = 0.0
    leadership = Leadership(
        LeaseStore(api_client, NAMESPACE, "op"),
        "a",
        Timings(lease=15, renew_deadline=10, retry=2),
        lambda: passed,
    )
    writer = Cluster(await connected(leadership.seconds_to_write), NAMESPACE)
    job = builders.job_manifest(builders.export_manifest())
    assert await leadership.acquire(asyncio.Event())
    await writer.create_job(job)
    passed = 60
    job["metadata"]["name"] = "another"
    with pytest.raises(NotLeadingError):
        await writer.create_job(job)
    assert len(kubernetes.objects("jobs")) == 1
