"""Takes our finalizer off BackupExports when no operator will be left to do it.

Else a namespace, or an export, that is deleted would wait for ever.  Files stay with the volume.
"""

import asyncio
import json
import logging
from typing import Any

from backupexport_contract import names
from kubernetes.aio import client

from backupexport_operator.kube.client import (
    SERVER_AWAY,
    list_pages,
    opened,
    read_or_none,
    retry_after,
)

_logger = logging.getLogger(__name__)

_PARALLEL = 8
_ATTEMPTS = 5
_FIRST_PAUSE = 0.2
_JSON_PATCH = "application/json-patch+json"


async def namespace_is_terminating(api_client: client.ApiClient, namespace: str) -> bool:
    """Returns whether the namespace is being deleted."""
    async with opened(api_client, f"namespaces/{namespace}", {}) as response:
        body = json.loads(await response.read())
    return "deletionTimestamp" in body["metadata"]


async def release_finalizers(api_client: client.ApiClient, namespace: str) -> int:
    """Take the finalizer off every BackupExport of the namespace.  Returns how many had it."""
    api = client.CustomObjectsApi(api_client)
    exports = (names.GROUP, names.VERSION, namespace, names.EXPORT_PLURAL)
    slots = asyncio.Semaphore(_PARALLEL)
    released = 0
    async for page in list_pages(api, *exports):
        bodies = [body for body in page["items"] if finalizer_position(body) is not None]
        releases = (
            _release(api, (*exports, body["metadata"]["name"]), body, slots) for body in bodies
        )
        await asyncio.gather(*releases)
        released += len(bodies)
    return released


def finalizer_position(body: dict[str, Any]) -> int | None:
    """Returns the place of our finalizer in the list of `body`, a BackupExport; None without."""
    finalizers = body["metadata"].get("finalizers") or []
    return finalizers.index(names.FINALIZER) if names.FINALIZER in finalizers else None


def removal_patch(position: int) -> list[dict[str, Any]]:
    """Returns a JSON patch (RFC 6902) that fails if our finalizer is no longer at `position`."""
    path = f"/metadata/finalizers/{position}"
    return [{"op": "test", "path": path, "value": names.FINALIZER}, {"op": "remove", "path": path}]


async def _release(
    api: client.CustomObjectsApi,
    where: tuple[str, ...],
    body: dict[str, Any],
    slots: asyncio.Semaphore,
) -> None:
    async with slots:
        for attempt in range(_ATTEMPTS):
            position = finalizer_position(body)
            if position is None:
                return
            try:
                await api.patch_namespaced_custom_object(
                    *where, removal_patch(position), _content_type=_JSON_PATCH
                )
            except SERVER_AWAY as error:
                if getattr(error, "status", None) == 404:
                    return
                if attempt + 1 == _ATTEMPTS:
                    raise
                await asyncio.sleep(max(_FIRST_PAUSE * 2**attempt, retry_after(error)))
                # The patch's test fails with 422 if somebody else has changed the list meanwhile.
                found = await read_or_none(api, *where)
                if found is None:
                    return
                body = found
            else:
                _logger.info("took the finalizer off %s", body["metadata"]["name"])
                return
