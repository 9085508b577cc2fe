"""Reads runners' logs while their pods run, for the progress in them.

No decision rests on it, so what goes wrong is logged, and tried again while the pod runs.
"""

import asyncio
import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from backupexport_contract.names import RUNNER_CONTAINER
from backupexport_contract.runner_protocol import Progress, read_progress_line
from kubernetes.aio import client

from backupexport_operator.kube.client import opened, retry_after

_logger = logging.getLogger(__name__)

_STREAM_SECONDS = 3600.0
# The runner writes a line a second while it dumps, so a stream that is silent so long is cut.
_SILENCE_SECONDS = 120.0
_AGAIN_SECONDS = 2.0


@dataclass
class PodLogs:
    """One task for each running pod."""

    api_client: client.ApiClient
    namespace: str
    _tasks: dict[str, tuple[str, asyncio.Task[None]]] = field(default_factory=dict, init=False)

    def follow(self, export_uid: str, pod_name: str, told: Callable[[str, Progress], None]) -> None:
        """Read the log of `pod_name`, if that isn't done already; `told` gets (uid, progress)."""
        known = self._tasks.get(export_uid)
        if known is not None and known[0] == pod_name:
            return
        self.forget(export_uid)
        task = asyncio.create_task(self._follow(pod_name, functools.partial(told, export_uid)))
        self._tasks[export_uid] = (pod_name, task)

    def forget(self, export_uid: str) -> None:
        """Read no log for the export any more."""
        known = self._tasks.pop(export_uid, None)
        if known is not None:
            known[1].cancel()

    async def stop(self) -> None:
        """Stop all.  Returns when nothing runs any more."""
        tasks = [task for _, task in self._tasks.values()]
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self, pod_name: str, told: Callable[[Progress], None]) -> None:
        while True:
            pause = _AGAIN_SECONDS
            try:
                await self._read(pod_name, told)
            except Exception as error:  # noqa: BLE001 - see the module's docstring
                _logger.info("following the log of pod %s: %s", pod_name, error)
                pause = max(pause, retry_after(error))
            await asyncio.sleep(pause)

    async def _read(self, pod_name: str, told: Callable[[Progress], None]) -> None:
        log = opened(
            self.api_client,
            f"namespaces/{self.namespace}/pods/{pod_name}/log",
            {"container": RUNNER_CONTAINER, "follow": "true", "tailLines": "20"},
            _STREAM_SECONDS,
        )
        async with log as response:
            while True:
                async with asyncio.timeout(_SILENCE_SECONDS):
                    line = await response.content.readline()
                if not line:
                    return
                progress = read_progress_line(line.decode(errors="replace"))
                if progress is not None:
                    told(progress)
