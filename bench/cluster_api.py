"""The benchmark's own requests to the API server: as few and as plain as can be.

It shares the machine with what it measures, so requests are JSON and nothing is checked twice.
"""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
from backupexport_contract import names
from kubernetes.aio import client, config
from playground.tools import STATE

_JSON = {"Content-Type": "application/json"}
_MERGE_PATCH = {"Content-Type": "application/merge-patch+json"}
# A watch's line holds a whole resource.
_LONGEST_LINE = 2**21

EXPORTS = f"/apis/{names.API_VERSION}/namespaces/{{}}/{names.EXPORT_PLURAL}"
JOBS = "/apis/batch/v1/namespaces/{}/jobs"
PODS = "/api/v1/namespaces/{}/pods"

Manifest = dict[str, Any]
Seen = Callable[[str, Manifest], None]


class ClusterApi:
    """Requests as the kubeconfig's own user."""

    def __init__(
        self, session: aiohttp.ClientSession, server: str, context: ssl.SSLContext
    ) -> None:
        self._session = session
        self.server, self.context = server, context

    async def create_export(self, namespace: str, manifest: Manifest) -> None:
        """Create a BackupExport."""
        path = EXPORTS.format(namespace)
        await self._send("POST", path, _JSON, manifest)

    async def patch_status(self, path: str, name: str, status: Manifest) -> Manifest:
        """Merge into the status of what is `name` at `path`."""
        path = f"{path}/{name}/status"
        patched: Manifest = await self._send("PATCH", path, _MERGE_PATCH, {"status": status})
        return patched

    async def items(self, path: str) -> list[Manifest]:
        """All that is there."""
        listed = await self._send("GET", path, {}, None)
        found: list[Manifest] = listed["items"]
        return found

    @asynccontextmanager
    async def watching(self, path: str, seen: Seen) -> AsyncIterator[None]:
        """Call `seen` with each event's type and object, until the end of the context."""
        began = asyncio.Event()
        task = asyncio.create_task(self._watch(path, seen, began))
        # Of a watch that is refused, too, an end is seen.
        task.add_done_callback(lambda _: began.set())
        try:
            await began.wait()
            if task.done():
                task.result()
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _watch(self, path: str, seen: Seen, began: asyncio.Event) -> None:
        version = "0"
        endless = aiohttp.ClientTimeout(total=None)
        while True:
            url = f"{self.server}{path}?watch=1&resourceVersion={version}&timeoutSeconds=3000"
            async with self._session.get(url, timeout=endless, raise_for_status=True) as response:
                began.set()
                async for line in response.content:
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        raise RuntimeError(f"the benchmark's own watch of {path}: {line!r}")
                    version = event["object"]["metadata"]["resourceVersion"]
                    seen(event["type"], event["object"])
            # A busy API server ends the watches of whom it finds slow.
            print(f"UNSTEADY: the benchmark's own watch of {path} was ended, and goes on")

    async def _send(
        self, method: str, path: str, headers: dict[str, str], body: Manifest | None
    ) -> Any:
        data = None if body is None else json.dumps(body).encode()
        async with self._session.request(
            method, self.server + path, headers=headers, data=data
        ) as response:
            text = await response.read()
            if response.status >= 300:
                raise RuntimeError(f"{method} {path}: {response.status} {text[:500]!r}")
            return json.loads(text)


@asynccontextmanager
async def cluster_api(connections: int) -> AsyncIterator[ClusterApi]:
    """A client with at most so many connections."""
    configuration = client.Configuration()
    await config.load_kube_config(
        config_file=str(STATE / "kubeconfig"), client_configuration=configuration
    )
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file)
    token = await configuration.get_api_key_with_prefix("BearerToken")
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections, ssl=context),
        headers={"Authorization": token} if token else {},
        timeout=aiohttp.ClientTimeout(total=60),
        read_bufsize=_LONGEST_LINE,
    ) as session:
        yield ClusterApi(session, configuration.host, context)
