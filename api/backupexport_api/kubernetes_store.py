"""Jobs as BackupExports in the Kubernetes API: writes go there, reads come from a watch cache."""

from collections.abc import Callable
from typing import Any, TypeVar

import anyio
from anyio import to_thread
from backupexport_contract import names
from backupexport_contract.resources import BackupExport

from backupexport_api.informer_source import InformerSource, Unreadable
from backupexport_api.job_store import StoreRefusedError, StoreUnavailableError
from backupexport_api.kubernetes_client import (
    CALL_ERRORS,
    UNREACHABLE,
    KubernetesApi,
    summary,
    translated,
)
from backupexport_api.slim import slim_export, slim_target

T = TypeVar("T")

# A POST makes at most two calls and is to be answered within five seconds.  The client's own
# timeouts start anew with every byte and don't cover name resolution; these do.
_LOOK_UP_SECONDS = 1.5
_CALL_SECONDS = 3.0
# Calls to an API server that hangs hold a thread until their timeout.  The other threads, which
# count requests, must not run out meanwhile.
_MOST_CALLS = 24
# Three bookmarks missed.
_STALE_SECONDS = 200.0

_UNKNOWN_OUTCOME = (
    "The Kubernetes API did not answer in time, so it is not known whether the export was "
    "accepted. Trying again may make a second one."
)
_NOT_SYNCED = "The list of jobs has not been read yet. Try again in a moment."


class KubernetesJobStore:
    """A JobStore; `start` it before use."""

    def __init__(self, api: KubernetesApi, namespace: str) -> None:
        self._api = api
        self._namespace = namespace
        self._calls = anyio.CapacityLimiter(_MOST_CALLS)
        self._name_of_uid: dict[str, str] = {}
        self._exports = InformerSource(api, names.EXPORT_PLURAL, slim_export, self._index)
        self._targets = InformerSource(api, names.TARGET_PLURAL, slim_target)

    def start(self) -> None:
        """Begin to fill the caches."""
        self._exports.start()
        self._targets.start()

    def stop(self) -> None:
        """Stop watching."""
        self._exports.stop()
        self._targets.stop()

    async def find_job(self, job_id: str) -> BackupExport | None:
        """Find a job in the cache, else by one direct read: another replica may just have made it.

        That read goes by name, so it can't find a kubectl-made job, whose id is its uid: those
        are known from the cache alone.
        """
        cached = self._cached(job_id) or self._cached(self._name_of_uid.get(job_id, ""))
        if cached is not None and cached.job_id == job_id:
            return cached
        found = await self._call(_CALL_SECONDS, self._api.get_object, names.EXPORT_PLURAL, job_id)
        if found is not None:
            return slim_export(found)
        if not self._exports.is_synced:
            raise StoreUnavailableError(_NOT_SYNCED, "the cache is not synced")
        return None

    async def project_exists(self, project_id: str) -> bool:
        """Look into the cache, else ask once: a target may just have been made."""
        if any(target.spec.project_id == project_id for target in self._targets.all()):
            return True
        page = await self._call(
            _LOOK_UP_SECONDS, self._list_targets, f"spec.projectId={project_id}"
        )
        return bool(page["items"])

    async def create_job(self, manifest: dict[str, Any]) -> BackupExport:
        """Store a BackupExport."""
        stored = await self._call(
            _CALL_SECONDS,
            self._api.create_object,
            names.EXPORT_PLURAL,
            manifest,
            when_late=_UNKNOWN_OUTCOME,
        )
        return BackupExport.model_validate(stored)

    async def unready(self) -> list[str]:
        """List what is not synced or does not answer."""
        missing = [
            f"the cache of {plural} {state}"
            for plural, source in (
                (names.EXPORT_PLURAL, self._exports),
                (names.TARGET_PLURAL, self._targets),
            )
            if (state := _state_of(source))
        ]
        try:
            await self._call(_LOOK_UP_SECONDS, self._list_targets)
        except (StoreUnavailableError, StoreRefusedError):
            missing.append("the Kubernetes API does not answer")
        return missing

    def _list_targets(self, field_selector: str | None = None) -> dict[str, Any]:
        page: dict[str, Any] = self._api.list_objects(
            names.TARGET_PLURAL, limit=1, field_selector=field_selector
        )
        return page

    def _index(self, export: BackupExport) -> None:
        """Remember where a job is whose id is not its name; entries of deleted ones do no harm."""
        if export.job_id != export.metadata.name:
            self._name_of_uid[export.job_id] = export.metadata.name

    def _cached(self, name: str) -> BackupExport | None:
        found = self._exports.get(f"{self._namespace}/{name}")
        if isinstance(found, Unreadable):
            raise StoreRefusedError(f"BackupExport {name} is not understood by this version")
        return found

    async def _call(
        self,
        seconds: float,
        function: Callable[..., T],
        *arguments: Any,
        when_late: str = UNREACHABLE,
    ) -> T:
        """Call in a worker thread, which is left behind when it takes longer than `seconds`."""
        try:
            with anyio.fail_after(seconds):
                return await to_thread.run_sync(
                    function, *arguments, abandon_on_cancel=True, limiter=self._calls
                )
        except TimeoutError as error:
            raise StoreUnavailableError(when_late, summary(error)) from None
        except CALL_ERRORS as error:
            raise translated(error, when_late) from None


def _state_of(source: InformerSource[Any]) -> str | None:
    if not source.is_synced:
        return "is not synced"
    if source.seconds_since_contact > _STALE_SECONDS:
        return f"has heard nothing for {source.seconds_since_contact:.0f} s"
    return None
