"""The interface of the store of jobs; `kube/store.py` implements it."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from backupexport_contract.backup_export import BackupExport
from backupexport_contract.reasons import Phase

from backupexport_api.auth.claims import ProjectAccess
from backupexport_api.jobs.cached_job import CachedJob
from backupexport_api.jobs.listeners import JobListener
from backupexport_api.jobs.query import JobQuery


class StoreUnavailableError(Exception):
    """The store did not answer, or refused: `detail` is for the client, the text is for the log."""

    def __init__(self, detail: str, why: str) -> None:
        super().__init__(why)
        self.detail = detail


class StoreRefusedError(Exception):
    """The store found an object of ours invalid, which is a bug of ours."""


@dataclass(frozen=True, slots=True)
class StoredExport:
    """A BackupExport as the store has it."""

    export: BackupExport
    is_new: bool
    """False where there was one of this name, which was left as it is."""


@dataclass(frozen=True, slots=True)
class CacheState:
    """How fresh the cache of one kind of resource is."""

    resource: str
    is_synced: bool
    age_seconds: float
    """Seconds since the Kubernetes API was heard last; infinite before the first time."""


class JobStore(Protocol):
    """Keeps jobs; each call answers within five seconds or raises StoreUnavailableError."""

    async def find_job(self, job_id: str, access: ProjectAccess) -> CachedJob | None:
        """Return a job; None, in the same time, where it doesn't exist or is not allowed."""

    def listen_to_job(self, job_id: str) -> AbstractContextManager[JobListener]:
        """Listen to a job's changes from now on; whether the caller may see it is not checked."""

    def known_job(self, job_id: str) -> CachedJob | None:
        """Return a job from memory, whoever may see it, without a call to the Kubernetes API."""

    async def list_jobs(
        self, query: JobQuery, access: ProjectAccess
    ) -> tuple[list[CachedJob], bool]:
        """Return the allowed jobs that `query` asks for, and whether there are more."""

    async def project_exists(self, project_id: str) -> bool:
        """Return whether an ExportTarget serves the project."""

    async def create_job(self, manifest: dict[str, Any]) -> StoredExport:
        """Store a BackupExport unless there is one of its name; return the stored one."""

    async def find_export(self, name: str) -> BackupExport | None:
        """Return the BackupExport with this name from the Kubernetes API, not from memory."""

    async def cancel_job(self, job: CachedJob) -> CachedJob | None:
        """Set `spec.cancel`; return the job as it is then, or None where it was deleted."""

    async def unready(self, *, with_kubernetes: bool) -> list[str]:
        """Return what keeps the store from serving, a phrase for each cause; empty when ready.

        `with_kubernetes` asks also whether the Kubernetes API answers now.
        """

    async def close(self) -> None:
        """Close what belongs to the event loop."""

    def cache_states(self) -> list[CacheState]:
        """Return the state of each cache."""

    def count_by_phase(self) -> dict[Phase, int]:
        """Return how many jobs there are in each phase."""
