"""The store of jobs: writes go to the Kubernetes API, reads come from watch caches."""

import asyncio
import secrets
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypeVar

from backupexport_contract import names
from backupexport_contract.backup_export import CANCEL_BEFORE_THE_END, BackupExport
from backupexport_contract.reasons import Phase

from backupexport_api.auth.claims import ProjectAccess
from backupexport_api.jobs.cached_job import CachedJob, CachedTarget
from backupexport_api.jobs.index import JobIndex
from backupexport_api.jobs.listeners import JobListener, JobListeners
from backupexport_api.jobs.query import JobQuery
from backupexport_api.jobs.target_index import TargetIndex
from backupexport_api.kube import errors
from backupexport_api.kube.client import KubernetesObjects, ListObjects
from backupexport_api.kube.errors import StoreRefusedError, StoreUnavailableError
from backupexport_api.kube.informer import CacheState, InformerSource
from backupexport_api.limits.shared_answer import SharedAnswer

T = TypeVar("T")

# A POST makes at most two calls in a row, or three where its key is used again, and is to be
# answered within five seconds.
_LOOK_UP_SECONDS = 1.0
_CALL_SECONDS = 2.5
# Three bookmarks missed.
_STALE_SECONDS = 200.0
# How long one question, whether the Kubernetes API answers, serves all who ask: nobody needs a
# token for it.
_ANSWERS_SECONDS = 1.0

_UNKNOWN_OUTCOME = (
    "The Kubernetes API did not answer in time, so it is not known whether the export was "
    "accepted. Trying again with the same Idempotency-Key can't make a second one; without a "
    "key it may."
)
_UNKNOWN_CANCEL = (
    "The Kubernetes API did not answer in time, so it is not known whether the job will be "
    "cancelled. Trying again does no harm."
)
_UNKNOWN_TAKE_BACK = (
    "The Kubernetes API did not answer in time, so it is not known whether the links are taken "
    "back. Trying again does no harm."
)
_NOT_SYNCED = "The list of jobs has not been read yet. Try again in a moment."
_TARGETS_NOT_SYNCED = "The list of projects has not been read yet. Try again in a moment."
_VANISHED = "The job of this Idempotency-Key is just being deleted. Try again in a moment."


@dataclass(frozen=True, slots=True)
class StoredExport:
    """A BackupExport as the store has it."""

    export: BackupExport
    is_new: bool
    """False where there was one of this name, which was left as it is."""


class JobStore:
    """Keeps jobs; each call answers within five seconds or raises an error of `kube/errors`."""

    def __init__(
        self,
        list_objects: ListObjects,
        objects: KubernetesObjects,
        observe_call: Callable[[str, str, float], None] = lambda *_: None,
    ) -> None:
        """`observe_call` is called with each call's verb, outcome and duration in seconds."""
        self._objects = objects
        self._observe_call = observe_call
        self._listeners = JobListeners()
        self._index = JobIndex(self._listeners.publish)
        self._exports = InformerSource(
            list_objects, names.EXPORT_PLURAL, CachedJob.of, self._index.put, self._index.discard
        )
        self._target_index = TargetIndex()
        self._targets = InformerSource(
            list_objects,
            names.TARGET_PLURAL,
            CachedTarget.of,
            self._target_index.put,
            self._target_index.discard,
        )
        self._kubernetes_answers = SharedAnswer(self._ask_kubernetes, _ANSWERS_SECONDS)

    def start(self) -> None:
        """Start to fill the caches."""
        self._exports.start()
        self._targets.start()

    def stop(self) -> None:
        """Stop watching."""
        self._exports.stop()
        self._targets.stop()

    async def close(self) -> None:
        """Close the client of the event loop."""
        await self._objects.close()

    async def find_job(self, job_id: str, access: ProjectAccess) -> CachedJob | None:
        """Return a job; None, in the same time, where it doesn't exist or is not allowed.

        It comes from the cache, else by one read: another replica may just have made it.  The read
        goes by name, so it finds no export made with kubectl, whose job id is its uid.
        """
        cached = self._index.get(job_id)
        if cached is not None and access.allows(cached.project_id):
            return cached
        # A job that the caller may not see costs the same read as one that doesn't exist: else the
        # time that a 404 takes would tell them apart.
        name = job_id if cached is None else str(uuid.uuid4())
        found = await self._get(name)
        if found is not None and access.allows(found["spec"]["projectId"]):
            return _readable(found)
        # For a job that the caller may not see, too.
        self._require_sync()
        return None

    def listen_to_job(self, job_id: str) -> AbstractContextManager[JobListener]:
        """Listen to a job's changes from now on; whether the caller may see it is not checked."""
        return self._listeners.listen(job_id)

    def known_job(self, job_id: str) -> CachedJob | None:
        """Return a job from the cache, whoever may see it, without a call to the Kubernetes API."""
        self._require_sync()
        return self._index.get(job_id)

    async def list_jobs(
        self, query: JobQuery, access: ProjectAccess
    ) -> tuple[list[CachedJob], bool]:
        """Return the allowed jobs that `query` asks for, and whether there are more."""
        self._require_sync()
        return self._index.page(query, access)

    async def list_projects(
        self, after: str, limit: int, access: ProjectAccess
    ) -> tuple[list[tuple[CachedTarget, CachedJob | None]], bool]:
        """Return the next allowed projects after one, by id, and whether there are more.

        Each is the target that serves it, and its newest job.
        """
        self._require_sync()
        if not self._targets.is_synced:
            raise StoreUnavailableError(_TARGETS_NOT_SYNCED, "the cache is not synced")
        targets, has_more = self._target_index.page(after, limit, access)
        found = [(target, self._index.newest_of(target.project_id)) for target in targets]
        return found, has_more

    async def project_exists(self, project_id: str) -> bool:
        """Return whether an ExportTarget serves the project."""
        if self._target_index.serving(project_id) is not None:
            return True
        # It may just have been made.
        selector = f"spec.projectId={project_id}"
        asked = self._objects.are_there(names.TARGET_PLURAL, selector)
        return await self._call("list", _LOOK_UP_SECONDS, asked)

    def wants_recipient(self, project_id: str) -> bool:
        """Return whether an export of the project that names no recipient is refused.

        The operator has the last word: a target that the cache doesn't know yet wants none.
        """
        serving = self._target_index.serving(project_id)
        return serving is not None and serving.wants_recipient

    async def create_job(self, manifest: dict[str, Any]) -> StoredExport:
        """Store a BackupExport unless there is one of its name; return the stored one."""
        asked = self._objects.create(names.EXPORT_PLURAL, manifest)
        try:
            made = await self._call("create", _CALL_SECONDS, asked, when_late=_UNKNOWN_OUTCOME)
        except StoreUnavailableError as failure:
            made = await self._made_all_the_same(manifest, failure)
        if made is not None:
            return StoredExport(BackupExport.model_validate(made), is_new=True)
        present = await self.find_export(manifest["metadata"]["name"])
        if present is None:
            raise StoreUnavailableError(_VANISHED, "created, found taken, then not found")
        return StoredExport(present, is_new=False)

    async def _made_all_the_same(
        self, manifest: dict[str, Any], failure: StoreUnavailableError
    ) -> dict[str, Any]:
        """Return the BackupExport if `failure` is but that of the answer; else raise it."""
        if failure.detail != _UNKNOWN_OUTCOME:
            raise failure
        try:
            found = await self._get(manifest["metadata"]["name"])
        except (StoreUnavailableError, StoreRefusedError):
            found = None
        # Another request with the same key noted another time.
        wanted = _annotations(manifest)
        if found is None or not wanted.items() <= _annotations(found).items():
            raise failure
        return found

    async def find_export(self, name: str) -> BackupExport | None:
        """Return the BackupExport with this name from the Kubernetes API, not from the cache."""
        found = await self._get(name)
        return None if found is None else BackupExport.model_validate(found)

    async def cancel_job(self, job: CachedJob) -> CachedJob | None:
        """Set `spec.cancel`; return the job as it is then, or None where it was deleted.

        One that has ended meanwhile stays as it is.
        """
        # With the uid, so that another project's export that has taken the name is left alone.
        patch = {"metadata": {"uid": job.uid}, "spec": {"cancel": True}}
        asked = self._objects.patch(names.EXPORT_PLURAL, job.name, patch)
        try:
            patched = await self._call("patch", _CALL_SECONDS, asked, when_late=_UNKNOWN_CANCEL)
        except StoreRefusedError as refusal:
            if not refusal.is_by_rule(str(CANCEL_BEFORE_THE_END["message"])):
                raise
            patched = await self._get(job.name)
        return None if patched is None else _readable(patched)

    async def take_back_links(self, job: CachedJob, link_id: str | None) -> bool:
        """End one link to the job's file, or all that there are; False where it was deleted."""
        if link_id in job.links.taken_back:
            return True
        changes = job.links.without(link_id, secrets.token_hex(8))
        patch = {"metadata": {"uid": job.uid, "annotations": changes}}
        asked = self._objects.patch(names.EXPORT_PLURAL, job.name, patch)
        patched = await self._call("patch", _CALL_SECONDS, asked, when_late=_UNKNOWN_TAKE_BACK)
        if patched is None:
            return False
        # Here they end at once, whenever the watch tells of it.
        self._index.put_written(_readable(patched))
        return True

    async def unready(self, *, with_kubernetes: bool) -> list[str]:
        """Return what keeps the store, and `with_kubernetes` that API, from serving, in phrases."""
        missing = []
        for cache in self.cache_states():
            if not cache.is_synced:
                missing.append(f"the cache of {cache.resource} is not synced")
            # An old cache is better than none: without the Kubernetes API reading goes on from it.
            elif with_kubernetes and cache.age_seconds > _STALE_SECONDS:
                silence = f"has heard nothing for {cache.age_seconds:.0f} s"
                missing.append(f"the cache of {cache.resource} {silence}")
        if with_kubernetes and not await self._kubernetes_answers.get():
            missing.append("the Kubernetes API does not answer")
        return missing

    def cache_states(self) -> list[CacheState]:
        """Return how fresh each cache is."""
        return [self._exports.state(), self._targets.state()]

    def count_by_phase(self) -> dict[Phase, int]:
        """Return how many jobs there are in each phase."""
        return self._index.count_by_phase()

    async def _ask_kubernetes(self) -> bool:
        try:
            asked = self._objects.are_there(names.TARGET_PLURAL)
            await self._call("list", _LOOK_UP_SECONDS, asked)
        except (StoreUnavailableError, StoreRefusedError):
            return False
        return True

    def _require_sync(self) -> None:
        if not self._exports.is_synced:
            raise StoreUnavailableError(_NOT_SYNCED, "the cache is not synced")

    async def _get(self, name: str) -> dict[str, Any] | None:
        asked = self._objects.get(names.EXPORT_PLURAL, name)
        return await self._call("get", _LOOK_UP_SECONDS, asked)

    async def _call(
        self, verb: str, seconds: float, asked: Awaitable[T], *, when_late: str = errors.UNREACHABLE
    ) -> T:
        """Wait for an answer for `seconds` at most."""
        started = time.monotonic()
        outcome = "error"
        try:
            async with asyncio.timeout(seconds):
                answer = await asked
            outcome = "ok"
        except TimeoutError as error:
            outcome = "timeout"
            raise StoreUnavailableError(when_late, errors.summary(error)) from None
        except errors.CALL_ERRORS as error:
            raise errors.translated(error, when_late) from None
        finally:
            self._observe_call(verb, outcome, time.monotonic() - started)
        return answer


def _readable(data: dict[str, Any]) -> CachedJob:
    try:
        return CachedJob.of(data)
    except ValueError:
        name = data["metadata"]["name"]
        raise StoreRefusedError(f"BackupExport {name} is not understood by this version") from None


def _annotations(manifest: dict[str, Any]) -> dict[str, str]:
    return manifest["metadata"].get("annotations") or {}
