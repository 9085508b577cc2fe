"""Makes the parts of a leading operator, starts them and stops them."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from backupexport_contract import timestamps
from backupexport_contract.backup_export import BackupExport
from backupexport_contract.export_target import ExportTarget
from backupexport_contract.runner_protocol import TASK_REMOVE, TASK_TIDY
from kubernetes.aio import client

from backupexport_operator.cleanup.jobs import CleanupJobs
from backupexport_operator.cleanup.reconciler import CleanupReconciler
from backupexport_operator.delivery.reconciler import DeliveryReconciler
from backupexport_operator.export.reconciler import ExportReconciler
from backupexport_operator.export.start_queue import StartQueue
from backupexport_operator.kube.client import (
    SERVER_AWAY,
    brief,
    connect,
    kinds_are_served,
    retry_after,
)
from backupexport_operator.kube.cluster import AWAITING_DELIVERY, Cluster
from backupexport_operator.kube.event_recorder import EventRecorder
from backupexport_operator.kube.pod_logs import PodLogs
from backupexport_operator.observed.export_cache import ExportCache, Index, World, all_of
from backupexport_operator.observed.export_files import is_on_silent_node
from backupexport_operator.observed.jobs_and_pods import ObservedJob, ObservedPod
from backupexport_operator.observed.watch_health import Present, WatchHealth
from backupexport_operator.settings import Settings
from backupexport_operator.storage_check.reconciler import StorageChecks
from backupexport_operator.target.reconciler import TargetReconciler
from backupexport_operator.telemetry.metrics import OperatorMetrics, OperatorState, UnfinishedExport

_logger = logging.getLogger(__name__)

WATCHED = ("exports", "targets", "jobs", "pods")
Watched = BackupExport | ExportTarget | ObservedJob | ObservedPod

_FIRST_RESYNC_SECONDS = 0.5
_FIRST_LISTS_SECONDS = 60.0
_POOL_SIZE = 100
# The log of each running export takes a connection for as long as it runs.
_LOG_STREAMS = 1000


class KindsNotServedError(Exception):
    """The API server doesn't know our kinds yet."""


class RunningOperator:
    """Works from `start` to `stop` on what it is asked for, and on everything at each resync."""

    def __init__(
        self,
        world: World,
        settings: Settings,
        requests: client.ApiClient,
        streams: client.ApiClient,
        metrics: OperatorMetrics,
        watches: WatchHealth,
    ) -> None:
        # kopf's indexes keep what goes while a watch lists anew, after a 410 say.
        world = self._world = World(
            exports=Present(world.exports, _identity),
            targets=Present(world.targets, _identity),
            jobs=Present(world.jobs, _identity),
            pods=Present(world.pods, _identity),
        )
        self._metrics = metrics
        self._watches = watches
        namespace = settings.namespace
        cluster = self._cluster = Cluster(requests, namespace)
        cleanup_jobs = CleanupJobs(cluster, settings)
        recorder = EventRecorder(requests, namespace, settings.instance)
        pod_logs = PodLogs(streams, namespace)
        self._cache = ExportCache(
            world,
            settings.backoff_limit,
            settings.retention_seconds,
            settings.progress_seconds,
            settings.deliveries,
            settings.max_stored_bytes,
            settings.own_secrets,
            settings.storages,
            timedelta(seconds=settings.target_patience_seconds),
            settings.chart_claim,
        )
        self._queue = StartQueue(settings.max_concurrent)
        self.exports = ExportReconciler(
            self._cache, cluster, cleanup_jobs, recorder, pod_logs, settings, self._queue, metrics
        )
        self._checks = (
            StorageChecks(world, cluster, settings, metrics, self._storage_changed)
            if settings.storage_checks
            else None
        )
        self._targets = TargetReconciler(
            world.targets,
            cluster,
            metrics,
            settings.storages,
            settings.own_secrets,
            self._checks.state if self._checks else None,
        )
        self._cleanup = CleanupReconciler(self._cache, cluster, recorder, metrics, cleanup_jobs)
        self._delivery = DeliveryReconciler(self._cache, cluster, recorder, metrics, settings)
        self._resync_seconds = settings.resync_seconds
        self._open_cleanups: set[str] = set()
        self._first_lists_are_in = asyncio.Event()
        self._tasks = [
            asyncio.create_task(self._later(self._cleanup.watch_for_ever)),
            asyncio.create_task(self._later(self._delivery.watch_for_ever)),
            asyncio.create_task(self._resync_for_ever()),
        ]
        # In this order, because each needs those after it until it has stopped.  The next process
        # goes on with what was under way.
        self._closers: list[Callable[[], Awaitable[None]]] = [
            pod_logs.stop,
            self.exports.queue.stop,
            self._cleanup.stop,
            self._delivery.queue.stop,
            *([self._checks.queue.stop] if self._checks else []),
            self._targets.queue.stop,
            recorder.stop,
            requests.close,
            streams.close,
        ]

        metrics.tell_of(self._state)
        metrics.leads(leading=True)

    @classmethod
    async def start(
        cls,
        world: World,
        settings: Settings,
        metrics: OperatorMetrics,
        watches: WatchHealth,
        seconds_to_write: Callable[[], float],
    ) -> "RunningOperator":
        """Connect to the API server and begin to work.  Raises KindsNotServedError."""
        requests = await connect(_POOL_SIZE, seconds_to_write, metrics.count_request)
        if not await kinds_are_served(requests, settings.namespace, AWAITING_DELIVERY):
            await requests.close()
            raise KindsNotServedError(
                "the CRDs are not served yet, or older than this operator: bring them up to date"
            )
        streams = await connect(_LOG_STREAMS, seconds_to_write, metrics.count_request)
        return cls(world, settings, requests, streams, metrics, watches)

    def ask(self, uid: str) -> None:
        """Work on the export: something of it has changed."""
        self.exports.queue.ask(uid)
        self._cleanup.ask(uid)
        self._delivery.ask(uid)
        if self._checks is not None:
            self._checks.ask(uid)

    def project_changed(self, project_id: str) -> None:
        """Work on the project: a target of it came, changed or went."""
        self._targets.queue.ask(project_id)
        self.exports.project_changed(project_id)
        self._delivery.project_changed(project_id)

    def job_changed(self, uid: str, job: ObservedJob, *, is_gone: bool) -> None:
        """A Job of the export came, changed, or is gone and was seen so last."""
        if is_gone:
            self._open_cleanups.discard(job.name)
            self._cache.note_lost_job(uid, job)
        elif job.task in (TASK_TIDY, TASK_REMOVE):
            # Count an end only if it was seen to happen: a new leader finds many that have ended.
            if not (job.complete or job.failure):
                self._open_cleanups.add(job.name)
            elif job.name in self._open_cleanups:
                self._open_cleanups.discard(job.name)
                self._metrics.cleanup_finished(job.task, succeeded=job.complete)
        self.ask(uid)

    def pod_changed(self, uid: str, pod: ObservedPod, *, is_gone: bool) -> None:
        """A pod of the export came, changed, or is gone and was seen so last."""
        if is_gone:
            self._cache.note_lost_pod(uid, pod)
        self.ask(uid)

    async def stop(self) -> None:
        """Stop everything.  Returns when nothing runs any more."""
        self._metrics.leads(leading=False)
        self._metrics.tell_of(None)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for close in self._closers:
            with contextlib.suppress(*SERVER_AWAY):
                await close()

    def _storage_changed(self) -> None:
        self._targets.resync()

    async def _later(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do `work` once the watches have told of all; before, no Job seems to be there."""
        await self._first_lists_are_in.wait()
        await work()

    async def _resync_for_ever(self) -> None:
        # It begins at once, because readiness needs to know whether the watches are complete.
        patience = time.monotonic() + _FIRST_LISTS_SECONDS
        while True:
            leave_alone = 0.0
            try:
                snapshot = await self._cluster.snapshot()
                self._compare(snapshot)
                # Until the watches have told of all, everything would seem to be missed.
                if self._watches.complete or time.monotonic() > patience:
                    self._first_lists_are_in.set()
                    self.exports.resync(snapshot)
                    if self._checks is not None:
                        self._checks.resync()
                    self._targets.resync()
            except SERVER_AWAY as error:
                _logger.warning("the resync has to wait: %s", brief(error))
                leave_alone = retry_after(error)
            except Exception:
                # The resync repairs everything else, so an error of ours must not end it.
                _logger.exception("the resync failed")
            complete = self._watches.complete
            pause = self._resync_seconds if complete else _FIRST_RESYNC_SECONDS
            await asyncio.sleep(max(pause, leave_alone))

    def _compare(self, snapshot: World) -> None:
        for kind in WATCHED:
            listed, known = getattr(snapshot, kind), getattr(self._world, kind)
            gone = self._watches.compare(kind, _versions(listed), _versions(known))
            for key, seen in known.hide(gone) if gone else ():
                self._went(key, seen)

    def _went(self, key: str, seen: Watched) -> None:
        """Do what its watch would have asked for if it had told that this went."""
        if isinstance(seen, BackupExport):
            self.exports.departed(seen)
        elif isinstance(seen, ExportTarget):
            self.project_changed(key)
        elif isinstance(seen, ObservedJob):
            self.job_changed(key, seen, is_gone=True)
        else:
            self.pod_changed(key, seen, is_gone=True)

    def _state(self) -> OperatorState:
        now = timestamps.now()
        exports = filter(None, map(self._cache.export, self._cache.uids()))
        return OperatorState(
            exports=[
                UnfinishedExport(export.phase, export.status.reason, export.age(now))
                for export in exports
            ],
            waiting_for_turn=self._queue.waiting,
            queue_length=self.exports.queue.length,
            watch_lateness_seconds=self._watches.lateness(),
            pending_deliveries=self._delivery.pending(),
            storages_ready=self._checks.ready() if self._checks else {},
            pods_on_silent_nodes=sum(
                is_on_silent_node(pod, now) for pod in all_of(self._world.pods)
            ),
        )


def _versions(index: Index[Any]) -> dict[str, int]:
    """Returns exports and targets with their versions; Jobs and Pods with 0."""
    return {_identity(seen): _version(seen) for seen in all_of(index)}


def _identity(seen: Watched) -> str:
    if isinstance(seen, ObservedPod):
        # No two have the same one.
        return seen.name
    return seen.uid if isinstance(seen, ObservedJob) else seen.metadata.uid


def _version(seen: Watched) -> int:
    if isinstance(seen, ObservedJob | ObservedPod):
        return 0
    return int(seen.metadata.resource_version or 0)
