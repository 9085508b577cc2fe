"""The Lease as HTTP, against a server that keeps one and refuses what the real one refuses."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from backupexport_operator.leader.decision import Timings
from backupexport_operator.leader.election import Leadership
from backupexport_operator.leader.lease import LeaseStore, LeaseTakenError
from kubernetes.aio import client

PATH = "/apis/coordination.k8s.io/v1/namespaces/ns/leases"
MICRO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


class Leases:
    """One Lease, with the API server's optimistic locking."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.version = 0
        self.hangs = False

    async def read(self, _: web.Request) -> web.Response:
        await self._hang()
        if self.lease is None:
            return web.json_response({}, status=404)
        return web.json_response(self.lease)

    async def create(self, request: web.Request) -> web.Response:
        await self._hang()
        if self.lease is not None:
            return web.json_response({}, status=409)
        return self._keep(await request.json(), 201)

    async def replace(self, request: web.Request) -> web.Response:
        await self._hang()
        body = await request.json()
        if self.lease is None:
            return web.json_response({}, status=404)
        if body["metadata"]["resourceVersion"] != str(self.version):
            return web.json_response({}, status=409)
        return self._keep(body, 200)

    def _keep(self, body: dict[str, Any], status: int) -> web.Response:
        assert (body["apiVersion"], body["kind"]) == ("coordination.k8s.io/v1", "Lease")
        for name in ("acquireTime", "renewTime"):
            assert MICRO_TIME.fullmatch(body["spec"][name])
        assert isinstance(body["spec"]["leaseDurationSeconds"], int)
        self.version += 1
        body["metadata"]["resourceVersion"] = str(self.version)
        self.lease = body
        return web.json_response(body, status=status)

    async def _hang(self) -> None:
        if self.hangs:
            await asyncio.sleep(60)


@pytest.fixture
def leases() -> Leases:
    return Leases()


@pytest.fixture
async def api_client(leases: Leases) -> AsyncIterator[client.ApiClient]:
    app = web.Application()
    app.router.add_get(f"{PATH}/op", leases.read)
    app.router.add_post(PATH, leases.create)
    app.router.add_put(f"{PATH}/op", leases.replace)
    async with TestServer(app, shutdown_timeout=0.1) as server:
        configuration = client.Configuration(host=f"http://127.0.0.1:{server.port}")
        api_client = client.ApiClient(configuration)
        try:
            yield api_client
        finally:
            await api_client.close()


async def test_created_renewed_given_back_and_taken(
    api_client: client.ApiClient, leases: Leases
) -> None:
    first, second = (LeaseStore(api_client, "ns", "op") for _ in range(2))
    assert await first.read() is None
    made = await first.write("a", 10)
    renewed = await first.write("a", 10)
    assert made.stamp != renewed.stamp
    assert await second.read() == renewed
    assert (renewed.holder, renewed.lease) == ("a", 10)
    acquired = leases.lease["spec"]["acquireTime"] if leases.lease else None
    assert (await first.write("", 1)).holder == ""
    with pytest.raises(LeaseTakenError):
        await second.write("b", 10)
    await second.read()
    await second.write("b", 10)
    assert leases.lease is not None
    assert leases.lease["spec"]["leaseTransitions"] == 2
    assert leases.lease["spec"]["acquireTime"] != acquired


async def test_two_that_create_it_are_one(api_client: client.ApiClient) -> None:
    stores = [LeaseStore(api_client, "ns", "op") for _ in range(2)]
    for store in stores:
        await store.read()
    results = await asyncio.gather(
        *(store.write(str(store), 10) for store in stores), return_exceptions=True
    )
    assert sum(isinstance(result, LeaseTakenError) for result in results) == 1


async def test_a_label_is_kept_and_is_no_sign_of_life(
    api_client: client.ApiClient, leases: Leases
) -> None:
    store = LeaseStore(api_client, "ns", "op")
    await store.read()
    before = await store.write("a", 10)
    assert leases.lease is not None
    leases.lease["metadata"] |= {"labels": {"team": "data"}}
    leases.version += 1
    leases.lease["metadata"]["resourceVersion"] = str(leases.version)
    assert await store.read() == before
    await store.write("a", 10)
    assert leases.lease["metadata"]["labels"] == {"team": "data"}


async def test_a_lease_without_content_is_nobody_s(
    api_client: client.ApiClient, leases: Leases
) -> None:
    leases.lease = json.loads('{"metadata": {"name": "op", "resourceVersion": "0"}}')
    record = await LeaseStore(api_client, "ns", "op").read()
    assert record is not None
    assert (record.holder, record.lease) == ("", 0)


async def test_a_server_that_hangs_ends_a_term_in_time(
    api_client: client.ApiClient, leases: Leases
) -> None:
    timings = Timings(lease=2, renew_deadline=0.6, retry=0.2)
    leadership = Leadership(LeaseStore(api_client, "ns", "op"), "a", timings)
    assert await leadership.acquire(asyncio.Event())
    leases.hangs = True
    async with asyncio.timeout(timings.renew_deadline + 0.5):
        assert await leadership.keep() == "not renewed for 0.6 s"
    assert not leadership.holds()
