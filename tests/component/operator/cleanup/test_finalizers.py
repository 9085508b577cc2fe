"""Finalizers are taken off by hundreds, whatever else is written to the same resources."""

import copy
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from backupexport_contract import names
from backupexport_operator.cleanup import finalizers
from kubernetes.aio import client
from kubernetes.aio.client.exceptions import ApiException

PATH = f"/apis/{names.API_VERSION}/namespaces/ns/{names.EXPORT_PLURAL}"


class Exports:
    """BackupExports, and a list of what the next patches are answered with."""

    def __init__(self) -> None:
        self.finalizers: dict[str, list[str]] = {}
        self.pages: list[str] = []
        self.failures: list[int] = []
        self.terminating = False

    def body(self, name: str) -> dict[str, Any]:
        return {"metadata": {"name": name, "finalizers": copy.copy(self.finalizers[name])}}

    async def list(self, request: web.Request) -> web.Response:
        known = sorted(self.finalizers)
        start, size = int(request.query.get("continue") or 0), int(request.query["limit"])
        self.pages.append(request.query.get("continue", ""))
        rest = str(start + size) if start + size < len(known) else ""
        items = [self.body(name) for name in known[start : start + size]]
        return web.json_response({"metadata": {"continue": rest}, "items": items})

    async def read(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in self.finalizers:
            return web.json_response({}, status=404)
        return web.json_response(self.body(name))

    async def patch(self, request: web.Request) -> web.Response:
        assert request.content_type == "application/json-patch+json"
        name = request.match_info["name"]
        if self.failures:
            return web.json_response({}, status=self.failures.pop(0))
        if name not in self.finalizers:
            return web.json_response({}, status=404)
        test, remove = await request.json()
        assert (test["op"], remove["op"], test["path"]) == ("test", "remove", remove["path"])
        position = int(test["path"].removeprefix("/metadata/finalizers/"))
        if self.finalizers[name][position : position + 1] != [test["value"]]:
            return web.json_response({}, status=422)
        del self.finalizers[name][position]
        return web.json_response(self.body(name))

    async def namespace(self, _: web.Request) -> web.Response:
        deleted = {"deletionTimestamp": "2026-01-29T15:30:00Z"} if self.terminating else {}
        return web.json_response({"metadata": {"name": "ns", **deleted}})


@pytest.fixture
def exports(monkeypatch: pytest.MonkeyPatch) -> Exports:
    monkeypatch.setattr(finalizers, "_FIRST_PAUSE", 0.001)
    return Exports()


@pytest.fixture
async def api_client(exports: Exports) -> AsyncIterator[client.ApiClient]:
    app = web.Application()
    app.router.add_get(PATH, exports.list)
    app.router.add_get(PATH + "/{name}", exports.read)
    app.router.add_patch(PATH + "/{name}", exports.patch)
    app.router.add_get("/api/v1/namespaces/ns", exports.namespace)
    async with TestServer(app) as server:
        api_client = client.ApiClient(client.Configuration(host=f"http://127.0.0.1:{server.port}"))
        try:
            yield api_client
        finally:
            await api_client.close()


async def test_all_pages_and_only_ours(api_client: client.ApiClient, exports: Exports) -> None:
    exports.finalizers = {f"e{i:04}": ["other/one", names.FINALIZER] for i in range(1201)}
    exports.finalizers["e0007"] = ["other/one"]
    exports.finalizers["e1100"] = []
    assert await finalizers.release_finalizers(api_client, "ns") == 1199
    assert exports.pages == ["", "500", "1000"]
    assert names.FINALIZER not in str(exports.finalizers)
    assert exports.finalizers["e1200"] == ["other/one"]


@pytest.mark.parametrize("status", [409, 422, 500, 503, 429])
async def test_tried_again(api_client: client.ApiClient, exports: Exports, status: int) -> None:
    exports.finalizers = {"a": [names.FINALIZER]}
    exports.failures = [status, status]
    await finalizers.release_finalizers(api_client, "ns")
    assert exports.finalizers == {"a": []}


async def test_a_list_that_changes_meanwhile_is_read_again(
    api_client: client.ApiClient, exports: Exports, monkeypatch: pytest.MonkeyPatch
) -> None:
    exports.finalizers = {"a": [names.FINALIZER]}
    listed = exports.body

    def changed_behind_us(name: str) -> dict[str, Any]:
        body = listed(name)
        if exports.finalizers["a"] == [names.FINALIZER]:
            exports.finalizers["a"] = ["other/one", names.FINALIZER]
        return body

    monkeypatch.setattr(exports, "body", changed_behind_us)
    await finalizers.release_finalizers(api_client, "ns")
    assert exports.finalizers == {"a": ["other/one"]}


@pytest.mark.parametrize("failures", [[], [422]])
async def test_gone_is_fine(
    api_client: client.ApiClient, exports: Exports, failures: list[int]
) -> None:
    exports.finalizers = {"a": [names.FINALIZER]}
    exports.failures = failures
    listed = exports.body

    def last_seen(name: str) -> dict[str, Any]:
        body = listed(name)
        del exports.finalizers[name]
        return body

    exports.body = last_seen  # type: ignore[method-assign]
    await finalizers.release_finalizers(api_client, "ns")
    assert exports.finalizers == {}


async def test_a_server_that_goes_on_refusing_is_an_error(
    api_client: client.ApiClient, exports: Exports
) -> None:
    exports.finalizers = {"a": [names.FINALIZER]}
    exports.failures = [403] * 9
    with pytest.raises(ApiException):
        await finalizers.release_finalizers(api_client, "ns")


@pytest.mark.parametrize("terminating", [False, True])
async def test_the_end_of_the_namespace(
    api_client: client.ApiClient, exports: Exports, terminating: bool
) -> None:
    exports.terminating = terminating
    assert await finalizers.namespace_is_terminating(api_client, "ns") is terminating
