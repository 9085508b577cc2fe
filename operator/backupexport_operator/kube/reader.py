"""Reads from the Kubernetes API what the watches don't tell, or may have missed."""

import json
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, TypeVar

from backupexport_contract import names
from backupexport_contract.backup_export import BackupExport
from backupexport_contract.export_target import ExportTarget
from backupexport_contract.reasons import Phase
from kubernetes.aio import client, watch
from kubernetes.aio.client.exceptions import ApiException
from pydantic import ValidationError

from backupexport_operator.kube.client import REQUEST_TIMEOUT, list_pages, opened, read_or_none
from backupexport_operator.observed.jobs_and_pods import (
    ObservedJob,
    ObservedPod,
    export_uid_of,
    observed_job,
    observed_pod,
)
from backupexport_operator.observed.observation import (
    Observation,
    Snapshot,
    serving_target,
    with_jobs_and_pods,
)

_logger = logging.getLogger(__name__)

Resource = TypeVar("Resource", BackupExport, ExportTarget)
Observed = TypeVar("Observed", ObservedJob, ObservedPod)

OURS = f"{names.LABEL_MANAGED_BY}={names.MANAGED_BY}"
UNFINISHED = ",".join(f"status.phase!={phase}" for phase in Phase if phase.is_finished)
AWAITING_CLEANUP = "status.disposalPending=true"
AWAITING_DELIVERY = "status.deliveryPending=true"
_WATCH_SECONDS = 300


class ClusterReader:
    """Reads in one namespace; every method raises one of `SERVER_AWAY` if there is no answer."""

    def __init__(self, api_client: client.ApiClient, namespace: str) -> None:
        self._namespace = namespace
        self._api_client = api_client
        self._custom = client.CustomObjectsApi(api_client)
        self._exports = (names.GROUP, names.VERSION, namespace, names.EXPORT_PLURAL)

    async def snapshot(self) -> Snapshot:
        """Returns all that is unfinished, by four lists."""
        exports = await self._list(
            names.GROUP, names.VERSION, names.EXPORT_PLURAL, field_selector=UNFINISHED
        )
        targets = await self._list(names.GROUP, names.VERSION, names.TARGET_PLURAL)
        jobs = await self._list("batch", "v1", "jobs", label_selector=OURS)
        return Snapshot(
            {
                export.metadata.uid: export
                for export in valid_models(BackupExport, exports["items"])
            },
            {
                target.metadata.uid: int(target.metadata.resource_version)
                for target in valid_models(ExportTarget, targets["items"])
            },
            _by_export(jobs["items"], observed_job),
            _by_export(await self._list_pods(OURS), observed_pod),
        )

    async def read_job(self, name: str) -> ObservedJob | None:
        """Returns the Job; None if there is none."""
        job = await read_or_none(self._custom, "batch", "v1", self._namespace, "jobs", name)
        return None if job is None else observed_job(job)

    async def list_jobs(self, export_uid: str) -> list[ObservedJob]:
        """Returns the export's Jobs, the side Jobs too."""
        answer = await self._list("batch", "v1", "jobs", label_selector=_of_export(export_uid))
        return list(map(observed_job, answer["items"]))

    async def list_pods(self, export_uid: str) -> list[ObservedPod]:
        """Returns the export's pods, those of side Jobs too."""
        return list(map(observed_pod, await self._list_pods(_of_export(export_uid))))

    async def newest_warning(self, kind: str, name: str) -> str:
        """Returns `Reason: note` of the newest Warning about an object; empty without one."""
        answer = await self._list(
            "events.k8s.io",
            "v1",
            "events",
            field_selector=f"regarding.kind={kind},regarding.name={name},type=Warning",
        )
        newest = max(answer["items"], key=_when, default=None)
        return "" if newest is None else f"{newest['reason']}: {newest.get('note', '')}"

    async def read_export(self, name: str) -> BackupExport | None:
        """Returns the BackupExport; None if there is none."""
        body = await read_or_none(self._custom, *self._exports, name)
        return None if body is None else BackupExport.model_validate(body)

    async def list_targets(self, project_id: str) -> list[ExportTarget]:
        """Returns the project's ExportTargets."""
        answer = await self._list(
            names.GROUP,
            names.VERSION,
            names.TARGET_PLURAL,
            field_selector=f"spec.projectId={project_id}",
        )
        return list(valid_models(ExportTarget, answer["items"]))

    async def list_finished(self, awaiting: str) -> tuple[list[BackupExport], str]:
        """Returns the exports that the field selector finds, and the version to watch them from."""
        exports: list[BackupExport] = []
        version = ""
        pages = list_pages(self._custom, *self._exports, field_selector=awaiting)
        async for page in pages:
            exports += valid_models(BackupExport, page["items"])
            version = page["metadata"]["resourceVersion"]
        return exports, version

    async def watch_finished(
        self, awaiting: str, version: str
    ) -> AsyncIterator[tuple[str, BackupExport]]:
        """Yields (event type, export) for each change since `version`, for some minutes."""
        stream = watch.Watch().stream(
            self._custom.list_namespaced_custom_object,
            *self._exports,
            field_selector=awaiting,
            resource_version=version,
            timeout_seconds=_WATCH_SECONDS,
            _request_timeout=_WATCH_SECONDS + REQUEST_TIMEOUT,
        )
        async for event in stream:
            if not isinstance(event, dict):
                # The client yields what is no JSON as text, such as a proxy's error.
                raise ApiException(status=0, reason=f"no event: {event!r:.200}")
            for export in valid_models(BackupExport, [event["raw_object"]]):
                yield event["type"], export

    async def _list(self, group: str, version: str, plural: str, **options: Any) -> Any:
        return await self._custom.list_namespaced_custom_object(
            group, version, self._namespace, plural, _request_timeout=REQUEST_TIMEOUT, **options
        )

    async def _list_pods(self, label_selector: str) -> list[dict[str, Any]]:
        pods = opened(
            self._api_client,
            f"namespaces/{self._namespace}/pods",
            {"labelSelector": label_selector},
            REQUEST_TIMEOUT,
        )
        async with pods as response:
            items: list[dict[str, Any]] = json.loads(await response.read())["items"]
        return items


def _of_export(uid: str) -> str:
    """Returns the label selector of what the watches tell of the export, and of no more."""
    return f"{OURS},{names.LABEL_EXPORT_UID}={uid}"


def valid_models(model: type[Resource], items: Iterable[dict[str, Any]]) -> Iterator[Resource]:
    """Yields the items as models, without those that only an older schema allowed."""
    for item in items:
        try:
            yield model.model_validate(item)
        except ValidationError as error:
            name, problems = item["metadata"]["name"], error.error_count()
            _logger.warning("%s %s is left alone: %d errors", model.__name__, name, problems)


def _when(event: dict[str, Any]) -> str:
    series = event.get("series") or {}
    times = (
        series.get("lastObservedTime"),
        event.get("deprecatedLastTimestamp"),
        event.get("eventTime"),
        event["metadata"]["creationTimestamp"],
    )
    return max(str(time) for time in times if time)


def _by_export(
    manifests: Iterable[dict[str, Any]], read: Callable[[dict[str, Any]], Observed]
) -> dict[str, frozenset[Observed]]:
    grouped: dict[str, set[Observed]] = {}
    for manifest in manifests:
        if (uid := export_uid_of(manifest)) is not None:
            grouped.setdefault(uid, set()).add(read(manifest))
    return {uid: frozenset(observed) for uid, observed in grouped.items()}


async def observe_afresh(reader: ClusterReader, seen: Observation) -> Observation:
    """Returns `seen` with the export's target, Jobs and pods as the API server has them now."""
    uid = seen.export.metadata.uid
    targets = await reader.list_targets(seen.export.spec.project_id)
    jobs = await reader.list_jobs(uid)
    pods = await reader.list_pods(uid)
    return with_jobs_and_pods(replace(seen, target=serving_target(targets)), jobs, pods)
