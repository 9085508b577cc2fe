"""The parts of a running operator, put together, from its start to its stop."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from backupexport_contract.runner_protocol import Progress
from kubernetes.aio import client

from backupexport_operator.cleaner import Cleaner
from backupexport_operator.cluster_reader import ClusterReader
from backupexport_operator.cluster_writer import ClusterWriter
from backupexport_operator.disposer import Disposer
from backupexport_operator.event_poster import EventPoster
from backupexport_operator.kubernetes_client import SERVER_AWAY, brief, connect, kinds_are_served
from backupexport_operator.log_follower import LogFollower
from backupexport_operator.reconciler import Reconciler
from backupexport_operator.settings import Settings
from backupexport_operator.sightings import Sightings, World
from backupexport_operator.start_queue import StartQueue
from backupexport_operator.target_reconciler import TargetReconciler

_logger = logging.getLogger(__name__)

_POOL_SIZE = 100
# One connection for each running export, besides the pool for requests.
_LOG_STREAMS = 1000


class KindsNotServedError(Exception):
    """The API server doesn't know our kinds yet."""


class RunningOperator:
    """Made by `start`; until `stop` it works on whatever it is asked for."""

    def __init__(
        self,
        world: World,
        settings: Settings,
        requests: client.ApiClient,
        streams: client.ApiClient,
    ) -> None:
        namespace, defaults = settings.namespace, settings.runner_defaults
        reader = ClusterReader(requests, namespace)
        writer = ClusterWriter(requests, namespace)
        cleaner = Cleaner(writer, defaults)
        poster = EventPoster(requests, namespace)
        follower = LogFollower(streams, namespace, self._told_progress)
        self.sightings = Sightings(
            world, defaults.backoff_limit, settings.retention_seconds, settings.progress_seconds
        )
        self.reconciler = Reconciler(
            self.sightings,
            reader,
            writer,
            cleaner,
            poster,
            follower,
            defaults,
            StartQueue(settings.max_concurrent),
        )
        self._targets = TargetReconciler(world.targets, writer)
        self._disposer = Disposer(self.sightings, reader, writer, cleaner, poster)
        self._resync_seconds = settings.resync_seconds
        self._tasks = [
            asyncio.create_task(self._disposer.watch_for_ever()),
            asyncio.create_task(self._resync_for_ever()),
        ]
        # The last ones are what the first ones still need.
        self._closers: list[Callable[[], Awaitable[None]]] = [
            self.reconciler.stop,
            self._disposer.stop,
            self._targets.projects.stop,
            follower.stop,
            poster.stop,
            requests.close,
            streams.close,
        ]

    @classmethod
    async def start(cls, world: World, settings: Settings) -> "RunningOperator":
        """Connect and begin; KindsNotServedError where the CRDs are missing."""
        requests = await connect(_POOL_SIZE)
        if not await kinds_are_served(requests):
            await requests.close()
            raise KindsNotServedError("the CRDs are not served yet")
        return cls(world, settings, requests, await connect(_LOG_STREAMS))

    def ask(self, uid: str) -> None:
        """Something about the export has changed."""
        self.reconciler.exports.ask(uid)
        self._disposer.ask(uid)

    def project_changed(self, project_id: str) -> None:
        """A target of the project came, changed or went."""
        self._targets.projects.ask(project_id)
        self.reconciler.project_changed(project_id)

    async def stop(self) -> None:
        """Stop everything; returns when nothing runs any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for close in self._closers:
            with contextlib.suppress(*SERVER_AWAY):
                await close()

    def _told_progress(self, uid: str, progress: Progress) -> None:
        self.reconciler.told_progress(uid, progress)

    async def _resync_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._resync_seconds)
            try:
                await self.reconciler.resync()
                self._targets.resync()
            except SERVER_AWAY as error:
                _logger.warning("the resync has to wait: %s", brief(error))
