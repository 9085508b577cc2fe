"""What kopf watches, and which reconcile each of its events asks for.

All handlers are indexes and on.event handlers.  kopf writes nothing on the resources for those, so
watching costs no request, and it calls none of them before each index has its first list.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import kopf
from backupexport_contract import names
from backupexport_contract.backup_export import BackupExport
from backupexport_contract.export_target import ExportTarget

from backupexport_operator.kube.cluster import OURS, UNFINISHED, valid_models
from backupexport_operator.kube.kopf_run import NothingKept, login
from backupexport_operator.observed.export_cache import World
from backupexport_operator.observed.jobs_and_pods import (
    ObservedJob,
    ObservedPod,
    export_uid_of,
    observed_job,
    observed_pod,
)
from backupexport_operator.observed.watch_health import WatchHealth
from backupexport_operator.settings import Settings
from backupexport_operator.telemetry.metrics import OperatorMetrics
from backupexport_operator.wiring import KindsNotServedError, RunningOperator

EXPORTS = (names.GROUP, names.VERSION, names.EXPORT_PLURAL)
TARGETS = (names.GROUP, names.VERSION, names.TARGET_PLURAL)
JOBS = ("batch", "v1", "jobs")
PODS = ("", "v1", "pods")


def configure(settings: kopf.OperatorSettings) -> None:
    """Make kopf serve one namespace, and have the API server filter what it watches."""
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.persistence.diffbase_storage = settings.persistence.progress_storage = NothingKept()
    settings.watching.server_timeout = 10 * 60
    settings.watching.client_timeout = 11 * 60
    settings.watching.connect_timeout = 10
    settings.networking.connect_timeout = 5
    settings.networking.request_timeout = 30
    # kopf tries the start again this soon, in seconds.
    settings.execution.default_backoff = 5
    # kopf would kill the process ten minutes after it ended by an error; ours lives on.
    settings.process.ultimate_exiting_timeout = None
    settings.watching.label_selectors[JOBS] = OURS
    settings.watching.label_selectors[PODS] = OURS
    # A finished export costs nothing: kopf doesn't watch it.
    settings.watching.field_selectors[EXPORTS] = UNFINISHED


def build_registry(
    settings: Settings,
    metrics: OperatorMetrics,
    watches: WatchHealth,
    seconds_to_write: Callable[[], float],
) -> kopf.OperatorRegistry:
    """Returns all handlers; before each write to Kubernetes, `seconds_to_write` is asked."""
    registry = kopf.OperatorRegistry()
    handlers = _Handlers(settings, metrics, watches, seconds_to_write)
    kopf.on.login(registry=registry)(login)
    kopf.on.startup(registry=registry)(handlers.start)  # type: ignore[arg-type] # index names
    kopf.on.cleanup(registry=registry)(handlers.stop)

    kopf.index(*EXPORTS, registry=registry, id="exports")(_index_export)
    kopf.index(*TARGETS, registry=registry, id="targets")(_index_target)
    kopf.index(*JOBS, registry=registry, id="jobs")(_index_job)
    kopf.index(*PODS, registry=registry, id="pods")(_index_pod)

    kopf.on.event(*EXPORTS, registry=registry)(handlers.export_event)
    kopf.on.event(*TARGETS, registry=registry)(handlers.target_event)
    kopf.on.event(*JOBS, registry=registry)(handlers.job_event)
    kopf.on.event(*PODS, registry=registry)(handlers.pod_event)
    return registry


@dataclass(repr=False, eq=False)
class _Handlers:
    """Hands kopf's events to the operator; kopf has none, nor stops it, before it has started."""

    settings: Settings
    metrics: OperatorMetrics
    watches: WatchHealth
    seconds_to_write: Callable[[], float]
    operator: RunningOperator = field(init=False)

    async def start(self, exports: Any, targets: Any, jobs: Any, pods: Any, **_: Any) -> None:
        world = World(exports=exports, targets=targets, jobs=jobs, pods=pods)
        try:
            self.operator = await RunningOperator.start(
                world, self.settings, self.metrics, self.watches, self.seconds_to_write
            )
        except KindsNotServedError as error:
            # kopf looks once for the kinds that it can watch: let it look again.
            raise kopf.TemporaryError(str(error), delay=2) from error

    async def stop(self, **_: Any) -> None:
        await self.operator.stop()

    async def export_event(self, type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002
        self.watches.told("exports")
        if type == "DELETED":
            for export in valid_models(BackupExport, [dict(body)]):
                self.operator.exports.departed(export)
        else:
            self.operator.ask(body["metadata"]["uid"])

    async def target_event(self, body: kopf.Body, **_: Any) -> None:
        self.watches.told("targets")
        self.operator.project_changed(body["spec"]["projectId"])

    async def job_event(self, type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002
        self.watches.told("jobs")
        uid = export_uid_of(body)
        if uid is not None:
            self.operator.job_changed(uid, observed_job(body), is_gone=type == "DELETED")

    async def pod_event(self, type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002
        self.watches.told("pods")
        uid = export_uid_of(body)
        if uid is not None:
            self.operator.pod_changed(uid, observed_pod(body), is_gone=type == "DELETED")


# They are async, because kopf would run each plain function in a thread.
async def _index_export(body: kopf.Body, **_: Any) -> dict[str, BackupExport]:
    return {export.metadata.uid: export for export in valid_models(BackupExport, [dict(body)])}


async def _index_target(body: kopf.Body, **_: Any) -> dict[str, ExportTarget]:
    return {target.spec.project_id: target for target in valid_models(ExportTarget, [dict(body)])}


async def _index_job(body: kopf.Body, **_: Any) -> dict[str, ObservedJob]:
    uid = export_uid_of(body)
    return {uid: observed_job(body)} if uid else {}


async def _index_pod(body: kopf.Body, **_: Any) -> dict[str, ObservedPod]:
    uid = export_uid_of(body)
    return {uid: observed_pod(body)} if uid else {}
