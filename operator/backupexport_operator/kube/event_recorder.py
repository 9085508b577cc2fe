"""Posts Kubernetes Events in the background, for those who read `kubectl describe`.

The status tells all that they tell: no export waits for one, and a failed one is only logged.
"""

import asyncio
import contextlib
import logging
from typing import Any

from backupexport_contract.backup_export import BackupExport
from kubernetes.aio import client

from backupexport_operator.kube.client import SERVER_AWAY, brief
from backupexport_operator.manifests.events import ExportEvent, event_manifest

_logger = logging.getLogger(__name__)

_POSTERS = 4
# Nobody reads more than that of an outage of the API server.
_MOST_WAITING = 10_000
_SECONDS_TO_EMPTY = 5.0


class EventRecorder:
    """A queue of Events, and tasks that post them; needs a running event loop."""

    def __init__(self, api_client: client.ApiClient, namespace: str) -> None:
        self._namespace = namespace
        self._custom = client.CustomObjectsApi(api_client)
        self._waiting: asyncio.Queue[dict[str, Any]] = asyncio.Queue(_MOST_WAITING)
        self._tasks = [asyncio.create_task(self._post_for_ever()) for _ in range(_POSTERS)]

    def record(self, export: BackupExport, event: ExportEvent) -> None:
        """Have the Event posted soon."""
        try:
            self._waiting.put_nowait(event_manifest(export, event, self._namespace))
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
                await self._custom.create_namespaced_custom_object(
                    "events.k8s.io", "v1", self._namespace, "events", manifest
                )
            except SERVER_AWAY as error:
                # 409: it has been posted before.
                if getattr(error, "status", None) != 409:
                    name = manifest["regarding"]["name"]
                    _logger.warning("event on %s: %s", name, brief(error))
            except Exception:
                _logger.exception("an event could not be posted")
            finally:
                self._waiting.task_done()
