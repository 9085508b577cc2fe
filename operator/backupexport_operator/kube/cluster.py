"""Reads from the Kubernetes API what the watches don't tell, and writes what is decided."""

import contextlib
import json
import logging
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import replace
from typing import Any, TypeVar

from backupexport_contract import names
from backupexport_contract.backup_export import BackupExport
from backupexport_contract.export_target import ExportTarget
from backupexport_contract.kubernetes_model import ObjectMeta
from backupexport_contract.reasons import Phase
from backupexport_contract.runner_protocol import TASK_CHECK
from kubernetes.aio import client, watch
from kubernetes.aio.client.exceptions import ApiException
from pydantic import ValidationError

from backupexport_operator.kube.client import (
    PAGE,
    REQUEST_TIMEOUT,
    SERVER_AWAY,
    delete_core,
    is_unanswered,
    list_pages,
    opened,
    read_or_none,
)
from backupexport_operator.observed.export_cache import World
from backupexport_operator.observed.jobs_and_pods import (
    ObservedJob,
    export_uid_of,
    observed_job,
    observed_pod,
)
from backupexport_operator.observed.observation import (
    Observation,
    serving_target,
    with_jobs_and_pods,
)

_logger = logging.getLogger(__name__)

Resource = TypeVar("Resource", BackupExport, ExportTarget)
Value = TypeVar("Value")
Body = dict[str, Any]

OURS = f"{names.LABEL_MANAGED_BY}={names.MANAGED_BY}"
UNFINISHED = ",".join(f"status.phase!={phase}" for phase in Phase if phase.is_finished)
AWAITING_CLEANUP = "status.disposalPending=true"
AWAITING_DELIVERY = "status.deliveryPending=true"
MERGE_PATCH = "application/merge-patch+json"
_WATCH_SECONDS = 300


class Cluster:
    """One namespace; every method raises one of `SERVER_AWAY` if there is no answer.

    To write to, or delete, what is gone is no error.
    """

    def __init__(self, api_client: client.ApiClient, namespace: str) -> None:
        self._namespace = namespace
        self._api_client = api_client
        # Jobs too, because it takes and gives plain JSON.
        self._custom = client.CustomObjectsApi(api_client)
        self._exports = (names.GROUP, names.VERSION, namespace, names.EXPORT_PLURAL)
        self._targets = (names.GROUP, names.VERSION, namespace, names.TARGET_PLURAL)
        self._jobs = ("batch", "v1", namespace, "jobs")

    async def snapshot(self) -> World:
        """Returns all that is unfinished, by four lists."""
        exports = await self._list(self._exports, field_selector=UNFINISHED)
        targets = await self._list(self._targets)
        jobs = await self._list(self._jobs, label_selector=OURS)
        pods = await self._list_pods(OURS)
        return World(
            exports=_indexed((it.metadata.uid, it) for it in valid_models(BackupExport, exports)),
            targets=_indexed(
                (it.spec.project_id, it) for it in valid_models(ExportTarget, targets)
            ),
            jobs=_indexed((export_uid_of(job), observed_job(job)) for job in jobs),
            pods=_indexed((export_uid_of(pod), observed_pod(pod)) for pod in pods),
        )

    async def observe_afresh(self, seen: Observation) -> Observation:
        """Returns `seen` with the export's target, Jobs and pods as the API server has them now."""
        project_id = seen.export.spec.project_id
        # What the watches tell of the export, the side Jobs too, and no more.
        ours = f"{OURS},{names.LABEL_EXPORT_UID}={seen.export.metadata.uid}"
        targets = await self._list(self._targets, field_selector=f"spec.projectId={project_id}")
        jobs = await self._list(self._jobs, label_selector=ours)
        pods = await self._list_pods(ours)
        return with_jobs_and_pods(
            replace(seen, target=serving_target(valid_models(ExportTarget, targets))),
            map(observed_job, jobs),
            map(observed_pod, pods),
        )

    async def newest_warning(self, kind: str, name: str) -> str:
        """Returns `Reason: note` of the newest Warning about an object; empty without one."""
        events = await self._list(
            ("events.k8s.io", "v1", self._namespace, "events"),
            field_selector=f"regarding.kind={kind},regarding.name={name},type=Warning",
        )
        newest = max(events, key=_when, default=None)
        return "" if newest is None else f"{newest['reason']}: {newest.get('note', '')}"

    async def read_export(self, name: str) -> BackupExport | None:
        """Returns the BackupExport; None if there is none."""
        body = await read_or_none(self._custom, *self._exports, name)
        return None if body is None else BackupExport.model_validate(body)

    async def read_job(self, name: str) -> ObservedJob | None:
        """Returns the batch/v1 Job; None if there is none."""
        body = await read_or_none(self._custom, *self._jobs, name)
        return None if body is None else observed_job(body)

    def list_finished(self, awaiting: str) -> AsyncIterator[Body]:
        """Yields the list of the exports that the field selector finds, page by page."""
        return list_pages(self._custom, *self._exports, field_selector=awaiting)

    async def stored_bytes(self, project_id: str) -> int:
        """Returns how much the files of the project's finished exports take."""
        selector = f"spec.projectId={project_id},status.phase={Phase.SUCCEEDED}"
        artifacts = [
            export["status"].get("artifact") or {}
            async for page in list_pages(self._custom, *self._exports, field_selector=selector)
            for export in page["items"]
        ]
        return sum(int(artifact.get("sizeBytes", 0)) for artifact in artifacts)

    async def watch_finished(self, awaiting: str, version: str) -> AsyncIterator[tuple[str, Body]]:
        """Yields (event type, export) for each change since `version`, for some minutes.

        A BOOKMARK has nothing but the version to go on from: without these, the version of a quiet
        watch is soon too old, and everything is listed anew.
        """
        stream = watch.Watch().stream(
            self._custom.list_namespaced_custom_object,
            *self._exports,
            field_selector=awaiting,
            resource_version=version,
            allow_watch_bookmarks=True,
            timeout_seconds=_WATCH_SECONDS,
            _request_timeout=_WATCH_SECONDS + REQUEST_TIMEOUT,
        )
        async for event in stream:
            if not isinstance(event, dict):
                # The client yields what is no JSON as text, such as a proxy's error.
                raise ApiException(status=0, reason=f"no event: {event!r:.200}")
            yield event["type"], event["raw_object"]

    async def _list(self, where: tuple[str, ...], **options: str) -> list[Body]:
        pages = list_pages(self._custom, *where, **options)
        return [item async for page in pages for item in page["items"]]

    async def _list_pods(self, label_selector: str) -> list[Body]:
        where = f"namespaces/{self._namespace}/pods"
        query = {"labelSelector": label_selector, "limit": str(PAGE), "continue": ""}
        items: list[Body] = []
        while True:
            async with opened(self._api_client, where, query) as response:
                page = json.loads(await response.read())
            items += page["items"]
            query["continue"] = page["metadata"].get("continue", "")
            if not query["continue"]:
                return items

    async def create_job(self, manifest: dict[str, Any]) -> ObservedJob:
        """Create the batch/v1 Job.  Returns it, or the one that has its name already."""
        try:
            job = await self._custom.create_namespaced_custom_object(
                *self._jobs, manifest, field_validation="Strict"
            )
        except ApiException as error:
            if error.status != 409:
                raise
            there = await self.read_job(manifest["metadata"]["name"])
            if there is None:
                raise
            return there
        return observed_job(job)

    async def delete_job(self, job: ObservedJob) -> None:
        """Delete this Job, and no other of its name; the garbage collector deletes its pods."""
        await self._delete(self._jobs, job.name, job.uid, propagationPolicy="Background")

    async def delete_needless_jobs(self) -> int:
        """Delete our Jobs that have ended, and checks of storages.  Returns how many.

        Kubernetes keeps a claim for as long as one of their pods is there, ended or not.
        """
        jobs = map(observed_job, await self._list(self._jobs, label_selector=OURS))
        needless = [job for job in jobs if job.complete or job.failed_at or job.task == TASK_CHECK]
        for job in needless:
            await self.delete_job(job)
        return len(needless)

    async def delete_pod(self, name: str) -> None:
        """Delete the pod; its Job counts it as it ended, and makes the next one."""
        try:
            await delete_core(self._api_client, f"namespaces/{self._namespace}/pods/{name}")
        except ApiException as error:
            if error.status != 404:
                raise

    async def delete_export(self, export: BackupExport) -> None:
        """Delete this BackupExport, and no other of its name."""
        await self._delete(self._exports, export.metadata.name, export.metadata.uid)

    async def patch_finalizers(
        self, export: BackupExport, finalizers: list[str]
    ) -> BackupExport | None:
        """Replace the finalizers.  Returns the BackupExport as it is then; None if it is gone."""
        answer = await self._patch(self._exports, export.metadata, finalizers=finalizers)
        return None if answer is None else BackupExport.model_validate(answer)

    async def patch_export_status(
        self, export: BackupExport, patch: dict[str, Any]
    ) -> BackupExport | None:
        """Apply a merge patch to the status.  Returns the BackupExport then; None if it is gone."""
        answer = await self._patch(self._exports, export.metadata, patch)
        return None if answer is None else BackupExport.model_validate(answer)

    async def patch_target_status(self, target: ExportTarget, patch: dict[str, Any]) -> None:
        """Apply a merge patch to the ExportTarget's status."""
        await self._patch(self._targets, target.metadata, patch)

    async def _patch(
        self,
        where: tuple[str, ...],
        seen: ObjectMeta,
        status: dict[str, Any] | None = None,
        **metadata: Any,
    ) -> Any:
        # A decision is good for the version that it was made on.  A late patch must fail (409) if
        # the resource has changed, or is a new one of the old one's name.
        body: dict[str, Any] = {"metadata": {"resourceVersion": seen.resource_version, **metadata}}
        method = self._custom.patch_namespaced_custom_object
        if status is not None:
            body["status"] = status
            method = self._custom.patch_namespaced_custom_object_status
        try:
            return await method(*where, seen.name, body, _content_type=MERGE_PATCH)
        except Exception as error:
            if isinstance(error, ApiException) and error.status == 404:
                return None
            if not is_unanswered(error):
                raise
            there = None
            with contextlib.suppress(*SERVER_AWAY):
                there = await read_or_none(self._custom, *where, seen.name)
            del body["metadata"]["resourceVersion"]
            if there is None or there["metadata"]["uid"] != seen.uid or not _holds(there, body):
                raise
            return there

    async def _delete(self, where: tuple[str, ...], name: str, uid: str, **options: str) -> None:
        body = client.V1DeleteOptions.model_validate({"preconditions": {"uid": uid}, **options})
        try:
            await self._custom.delete_namespaced_custom_object(*where, name, body=body)
        except ApiException as error:
            # 409: it is another one of the name.
            if error.status not in (404, 409):
                raise


def valid_models(model: type[Resource], items: Iterable[dict[str, Any]]) -> Iterator[Resource]:
    """Yields the items as models, without those that only an older schema allowed."""
    for item in items:
        try:
            yield model.model_validate(item)
        except ValidationError as error:
            name, problems = item["metadata"]["name"], error.error_count()
            _logger.warning("%s %s is left alone: %d errors", model.__name__, name, problems)


def _holds(there: Any, patch: Any) -> bool:
    """Whether a merge patch would change nothing of what is there."""
    if isinstance(patch, dict):
        found = there if isinstance(there, dict) else {}
        return all(_holds(found.get(key), value) for key, value in patch.items())
    # An empty list may not be stored at all.
    return bool(there == patch or (patch == [] and there is None))


def _when(event: dict[str, Any]) -> str:
    series = event.get("series") or {}
    times = (
        series.get("lastObservedTime"),
        event.get("deprecatedLastTimestamp"),
        event.get("eventTime"),
        event["metadata"]["creationTimestamp"],
    )
    return max(str(time) for time in times if time)


def _indexed(pairs: Iterable[tuple[str | None, Value]]) -> dict[str, list[Value]]:
    index: dict[str, list[Value]] = {}
    for key, value in pairs:
        if key is not None:
            index.setdefault(key, []).append(value)
    return index
