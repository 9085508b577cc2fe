"""kopf's side: what is watched, and which reconcile each event asks for.

All handlers are indexes and on.event: they keep no progress on the resources (no annotation,
no finalizer), so watching costs no request.  kopf runs no on.event handler before every index
holds its first list, so a decision never rests on half a picture.
"""

import asyncio
from typing import Any

import kopf
from backupexport_contract import names
from backupexport_contract.reasons import Phase
from backupexport_contract.resources import BackupExport
from backupexport_contract.target_resource import ExportTarget

from backupexport_operator.cluster_writer import ClusterWriter, connect, kinds_are_served
from backupexport_operator.facts import JobFacts, PodFacts, export_uid_of, job_facts, pod_facts
from backupexport_operator.log_follower import LogFollower
from backupexport_operator.reconciler import Reconciler, World
from backupexport_operator.settings import Settings

EXPORTS = (names.GROUP, names.VERSION, names.EXPORT_PLURAL)
TARGETS = (names.GROUP, names.VERSION, names.TARGET_PLURAL)
JOBS = ("batch", "v1", "jobs")
PODS = ("", "v1", "pods")

_POOL_SIZE = 100
# One connection for each running export, besides the pool for requests.
_LOG_STREAMS = 1000


def configure(settings: kopf.OperatorSettings) -> None:
    """Kopf's settings for a namespaced operator whose watches are filtered by the server."""
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.watching.server_timeout = 10 * 60
    settings.watching.client_timeout = 11 * 60
    settings.watching.connect_timeout = 10
    settings.networking.connect_timeout = 5
    settings.networking.request_timeout = 30
    ours = f"{names.LABEL_MANAGED_BY}={names.MANAGED_BY}"
    settings.watching.label_selectors[JOBS] = ours
    settings.watching.label_selectors[PODS] = ours
    # Cost grows with what runs, not with history: a finished export is never looked at again.
    settings.watching.field_selectors[EXPORTS] = ",".join(
        f"status.phase!={phase}" for phase in Phase if phase.is_finished
    )


def build_registry(settings: Settings) -> kopf.OperatorRegistry:
    """All handlers of one operator process."""
    registry = kopf.OperatorRegistry()
    process = _Process(settings)

    kopf.on.login(registry=registry)(_login)
    kopf.on.startup(registry=registry)(process.start)  # type: ignore[arg-type] # index names
    kopf.on.cleanup(registry=registry)(process.stop)

    kopf.index(*EXPORTS, registry=registry, id="exports")(_index_export)
    kopf.index(*TARGETS, registry=registry, id="targets")(_index_target)
    kopf.index(*JOBS, registry=registry, id="jobs")(_index_job)
    kopf.index(*PODS, registry=registry, id="pods")(_index_pod)

    kopf.on.event(*EXPORTS, registry=registry)(process.export_event)
    kopf.on.event(*TARGETS, registry=registry)(process.target_event)
    kopf.on.event(*JOBS, registry=registry, id="job_event")(process.owned_event)
    kopf.on.event(*PODS, registry=registry, id="pod_event")(process.owned_event)
    return registry


def _login(**kwargs: Any) -> kopf.ConnectionInfo | None:
    return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)


def _index_export(body: kopf.Body, **_: Any) -> dict[str, BackupExport]:
    export = BackupExport.model_validate(dict(body))
    return {export.metadata.uid: export}


def _index_target(body: kopf.Body, **_: Any) -> dict[str, ExportTarget]:
    target = ExportTarget.model_validate(dict(body))
    return {target.spec.project_id: target}


def _index_job(body: kopf.Body, **_: Any) -> dict[str, JobFacts]:
    uid = export_uid_of(body)
    return {uid: job_facts(body)} if uid else {}


def _index_pod(body: kopf.Body, **_: Any) -> dict[str, PodFacts]:
    uid = export_uid_of(body)
    return {uid: pod_facts(body)} if uid else {}


class _Process:
    """The parts of a running operator that live from kopf's start-up to its clean-up."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._reconciler: Reconciler | None = None
        self._closers: list[Any] = []

    async def start(self, exports: Any, targets: Any, jobs: Any, pods: Any, **_: Any) -> None:
        requests = await connect(_POOL_SIZE)
        if not await kinds_are_served(requests):
            # kopf looks once for what it can watch, and would watch nothing from then on.
            await requests.close()
            raise kopf.TemporaryError("the CRDs are not served yet", delay=2)
        streams = await connect(_LOG_STREAMS)
        follower = LogFollower(streams, self._settings.namespace, self._told_progress)
        self._reconciler = Reconciler(
            World(exports=exports, targets=targets, jobs=jobs, pods=pods),
            ClusterWriter(requests, self._settings.namespace),
            follower,
            self._settings.runner_defaults,
            self._settings.progress_seconds,
        )
        resync = asyncio.create_task(self._resync_for_ever(self._reconciler))
        self._closers = [self._reconciler.stop, follower.stop, requests.close, streams.close]
        self._resync = resync

    async def stop(self, **_: Any) -> None:
        self._resync.cancel()
        for close in self._closers:
            await close()

    async def export_event(self, body: kopf.Body, **_: Any) -> None:
        self._ask(body["metadata"]["uid"])

    async def target_event(self, body: kopf.Body, **_: Any) -> None:
        if self._reconciler is not None:
            self._reconciler.project_changed(body["spec"]["projectId"])

    async def owned_event(self, body: kopf.Body, **_: Any) -> None:
        uid = export_uid_of(body)
        if uid is not None:
            self._ask(uid)

    def _ask(self, uid: str) -> None:
        if self._reconciler is not None:
            self._reconciler.exports.ask(uid)

    def _told_progress(self, uid: str, progress: Any) -> None:
        if self._reconciler is not None:
            self._reconciler.told_progress(uid, progress)

    async def _resync_for_ever(self, reconciler: Reconciler) -> None:
        while True:
            await asyncio.sleep(self._settings.resync_seconds)
            reconciler.resync()
