"""Posts Kubernetes Events in the background, for those who read `kubectl describe`.

The status tells all that they tell: no export waits for one, and a failed one is only logged.
An Event that repeats is counted in its series, at most twice a minute each.
"""

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass
from typing import Any

from backupexport_contract.backup_export import BackupExport
from kubernetes.aio import client
from kubernetes.aio.client.exceptions import ApiException

from backupexport_operator.kube.client import SERVER_AWAY, brief
from backupexport_operator.kube.cluster import MERGE_PATCH
from backupexport_operator.manifests.events import (
    ExportEvent,
    event_manifest,
    series_patch,
    times_happened,
)

_logger = logging.getLogger(__name__)

_POSTERS = 4
# Nobody reads more than that of an outage of the API server.
_MOST_WAITING = 10_000
_SECONDS_TO_EMPTY = 5.0
# Between two patches of one Event; what repeats meanwhile is counted in the next.
SERIES_SECONDS = 30.0
# Whose counts are remembered; of others it is read when they repeat.
_MOST_REMEMBERED = 1_000


@dataclass
class _Posted:
    """An Event that is there: how often it happened, and when its series was last written."""

    count: int = 1
    told_at: float | None = None


class EventRecorder:
    """A queue of Events, and tasks that post them; needs a running event loop.

    `instance` is the name of the pod that posts them.
    """

    def __init__(self, api_client: client.ApiClient, namespace: str, instance: str) -> None:
        self._namespace = namespace
        self._instance = instance
        self._custom = client.CustomObjectsApi(api_client)
        self._where = ("events.k8s.io", "v1", namespace, "events")
        self._posted: dict[str, _Posted] = {}
        self._waiting: asyncio.Queue[dict[str, Any]] = asyncio.Queue(_MOST_WAITING)
        self._tasks = [asyncio.create_task(self._post_for_ever()) for _ in range(_POSTERS)]

    def record(self, export: BackupExport, event: ExportEvent) -> None:
        """Have the Event posted soon."""
        manifest = event_manifest(export, event, self._namespace, self._instance)
        try:
            self._waiting.put_nowait(manifest)
        except asyncio.QueueFull:
            _logger.warning("too many events wait, this one is let go: %s", event.message)

    async def stop(self) -> None:
        """Post what waits, for some seconds at most, and stop."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._waiting.join(), _SECONDS_TO_EMPTY)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _post_for_ever(self) -> None:
        while True:
            manifest = await self._waiting.get()
            try:
                await self._post(manifest)
            except SERVER_AWAY as error:
                name = manifest["regarding"]["name"]
                _logger.warning("event on %s: %s", name, brief(error))
            except Exception:
                _logger.exception("an event could not be posted")
            finally:
                self._waiting.task_done()

    async def _post(self, manifest: dict[str, Any]) -> None:
        name = manifest["metadata"]["name"]
        posted = self._posted.get(name)
        if posted is None and (posted := await self._create(manifest)) is None:
            return
        posted.count += 1
        now = time.monotonic()
        if posted.told_at is not None and now - posted.told_at < SERIES_SECONDS:
            return
        posted.told_at = now
        patch = series_patch(posted.count)
        try:
            await self._custom.patch_namespaced_custom_object(
                *self._where, name, patch, _content_type=MERGE_PATCH
            )
        except ApiException as error:
            if error.status != 404:
                raise
            # Kubernetes forgets Events after an hour.
            self._posted.pop(name, None)
            await self._create(manifest)

    async def _create(self, manifest: dict[str, Any]) -> _Posted | None:
        """Post it.  Returns the one that is there already, posted by another process."""
        name = manifest["metadata"]["name"]
        try:
            await self._custom.create_namespaced_custom_object(*self._where, manifest)
        except ApiException as error:
            if error.status != 409:
                raise
        else:
            self._remember(name, _Posted())
            return None
        found = await self._custom.list_namespaced_custom_object(
            *self._where, field_selector=f"metadata.name={name}"
        )
        return self._remember(name, _Posted(sum(map(times_happened, found["items"]))))

    def _remember(self, name: str, posted: _Posted) -> _Posted:
        while len(self._posted) >= _MOST_REMEMBERED:
            del self._posted[next(iter(self._posted))]
        return self._posted.setdefault(name, posted)
