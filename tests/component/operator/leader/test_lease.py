"""The Lease as HTTP, against a server that refuses what the real one refuses."""

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import pytest
from backupexport_operator.leader.decision import Timings
from backupexport_operator.leader.election import Leadership
from backupexport_operator.leader.lease import LeaseStore, LeaseTakenError
from fake_kubernetes.faults import Fault
from fake_kubernetes.server import NAMESPACE, FakeKubernetes
from kubernetes.aio import client
from kubernetes.aio.client.exceptions import ApiException

MICRO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


@pytest.fixture(autouse=True)
def _valid_bodies(kubernetes: FakeKubernetes) -> Iterator[None]:
    """Whatever a test writes has the shape that a real API server insists on."""
    yield
    for call in kubernetes.calls:
        if call.verb in ("create", "update"):
            body = call.body
            assert (body["apiVersion"], body["kind"]) == ("coordination.k8s.io/v1", "Lease")
            for name in ("acquireTime", "renewTime"):
                assert MICRO_TIME.fullmatch(body["spec"][name])
            assert isinstance(body["spec"]["leaseDurationSeconds"], int)


def stored(kubernetes: FakeKubernetes) -> dict[str, Any]:
    return kubernetes.objects("leases")["op"]


async def test_created_renewed_given_back_and_taken(
    api_client: client.ApiClient, kubernetes: FakeKubernetes
) -> None:
    first, second = (LeaseStore(api_client, NAMESPACE, "op") for _ in range(2))
    assert await first.read() is None
    made = await first.write("a", 10)
    renewed = await first.write("a", 10)
    assert made.stamp != renewed.stamp
    assert await second.read() == renewed
    assert (renewed.holder, renewed.lease) == ("a", 10)
    acquired = stored(kubernetes)["spec"]["acquireTime"]
    assert (await first.write("", 1)).holder == ""
    with pytest.raises(LeaseTakenError):
        await second.write("b", 10)
    await second.read()
    await second.write("b", 10)
    assert stored(kubernetes)["spec"]["leaseTransitions"] == 2
    assert stored(kubernetes)["spec"]["acquireTime"] != acquired


async def test_two_that_create_it_are_one(api_client: client.ApiClient) -> None:
    stores = [LeaseStore(api_client, NAMESPACE, "op") for _ in range(2)]
    for store in stores:
        await store.read()
    results = await asyncio.gather(
        *(store.write(str(store), 10) for store in stores), return_exceptions=True
    )
    assert sum(isinstance(result, LeaseTakenError) for result in results) == 1


async def test_two_that_take_it_are_one(
    api_client: client.ApiClient, kubernetes: FakeKubernetes
) -> None:
    stores = [LeaseStore(api_client, NAMESPACE, "op") for _ in range(2)]
    await stores[0].write("c", 10)
    await stores[0].write("", 1)
    for store in stores:
        await store.read()
    results = await asyncio.gather(
        *(store.write(holder, 10) for store, holder in zip(stores, "ab", strict=True)),
        return_exceptions=True,
    )
    (taken,) = [result for result in results if isinstance(result, LeaseTakenError)]
    winner = "ab"[1 - results.index(taken)]
    assert stored(kubernetes)["spec"]["holderIdentity"] == winner


async def test_a_lease_that_was_deleted_is_not_renewed(
    api_client: client.ApiClient, kubernetes: FakeKubernetes
) -> None:
    store = LeaseStore(api_client, NAMESPACE, "op")
    await store.write("a", 10)
    kubernetes.remove("leases", "op")
    with pytest.raises(LeaseTakenError):
        await store.write("a", 10)
    await LeaseStore(api_client, NAMESPACE, "op").write("b", 10)
    with pytest.raises(LeaseTakenError):
        await store.write("a", 10)


async def test_a_renewal_whose_answer_is_lost_is_found_and_goes_on(
    api_client: client.ApiClient, kubernetes: FakeKubernetes
) -> None:
    store = LeaseStore(api_client, NAMESPACE, "op")
    await store.write("a", 10)
    kubernetes.faults.append(Fault("update leases", status=504, is_stored=True))
    with pytest.raises(ApiException):
        await store.write("a", 10)
    with pytest.raises(LeaseTakenError):
        await store.write("a", 10)
    record = await store.read()
    assert record is not None
    assert record.holder == "a"
    await store.write("a", 10)


async def test_a_label_is_kept_and_is_no_sign_of_life(
    api_client: client.ApiClient, kubernetes: FakeKubernetes
) -> None:
    store = LeaseStore(api_client, NAMESPACE, "op")
    await store.read()
    before = await store.write("a", 10)
    kubernetes.change("leases", "op", {"metadata": {"labels": {"team": "data"}}})
    assert await store.read() == before
    await store.write("a", 10)
    assert stored(kubernetes)["metadata"]["labels"] == {"team": "data"}


async def test_a_lease_without_content_is_nobody_s(
    api_client: client.ApiClient, kubernetes: FakeKubernetes
) -> None:
    kubernetes.seed("leases", {"metadata": {"name": "op"}})
    record = await LeaseStore(api_client, NAMESPACE, "op").read()
    assert record is not None
    assert (record.holder, record.lease) == ("", 0)


async def test_a_server_that_hangs_ends_a_term_in_time(
    api_client: client.ApiClient, kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So long it would go on, if it waited for the answers.
    monkeypatch.setattr("backupexport_operator.kube.client.REQUEST_TIMEOUT", 600)
    timings = Timings(lease=2, renew_deadline=0.6, retry=0.2)
    leadership = Leadership(LeaseStore(api_client, NAMESPACE, "op"), "a", timings)
    assert await leadership.acquire(asyncio.Event())
    kubernetes.faults.append(Fault(".* leases", is_held=True, times=99))
    async with asyncio.timeout(60):
        assert await leadership.keep() == "not renewed for 0.6 s"
    assert not leadership.holds()
