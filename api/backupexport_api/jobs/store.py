"""What the routes need from whatever keeps the jobs."""

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
    """The store did not answer, or did not let us; `detail` is for the client.

    The exception's own text says why and is for the log.
    """

    def __init__(self, detail: str, why: str) -> None:
        super().__init__(why)
        self.detail = detail


class StoreRefusedError(Exception):
    """The store found our object wrong, which is a bug of ours."""


@dataclass(frozen=True, slots=True)
class StoredExport:
    """A BackupExport as the store has it."""

    export: BackupExport
    is_new: bool
    """False where one of this name was there before, which was left as it is."""


@dataclass(frozen=True, slots=True)
class CacheState:
    """How much of one kind of resource is in memory, and how fresh it is."""

    resource: str
    is_synced: bool
    age_seconds: float
    """Time since the last word of the Kubernetes API; infinite before the first."""


class JobStore(Protocol):
    """Keeps jobs; each call answers within five seconds or raises StoreUnavailableError."""

    async def find_job(self, job_id: str, access: ProjectAccess) -> CachedJob | None:
        """Find a job by its id; None only where it certainly does not exist or is not allowed.

        Both take the same time.
        """

    def listen_to_job(self, job_id: str) -> AbstractContextManager[JobListener]:
        """Hear of a job's changes, whoever may see it, from now on; it costs the store nothing."""

    def known_job(self, job_id: str) -> CachedJob | None:
        """Find a job, whosever it is, at no cost: without asking the Kubernetes API."""

    async def list_jobs(
        self, query: JobQuery, access: ProjectAccess
    ) -> tuple[list[CachedJob], bool]:
        """The allowed jobs that `query` asks for, newest first, and whether there are more."""

    async def project_exists(self, project_id: str) -> bool:
        """Tell whether an ExportTarget serves the project."""

    async def create_job(self, manifest: dict[str, Any]) -> StoredExport:
        """Store a BackupExport for good, unless there is one of its name."""

    async def find_export(self, name: str) -> BackupExport | None:
        """Read a BackupExport by its name."""

    async def cancel_job(self, job: CachedJob) -> CachedJob | None:
        """Ask for a job's end; the job as it is then, or None where it is gone."""

    async def unready(self, *, with_kubernetes: bool) -> list[str]:
        """List what keeps the store from serving, a phrase each; empty when it is ready.

        `with_kubernetes`: also whether the Kubernetes API answers now.
        """

    async def close(self) -> None:
        """Let go of what belongs to the event loop."""

    def cache_states(self) -> list[CacheState]:
        """Describe the caches."""

    def count_by_phase(self) -> dict[Phase, int]:
        """How many jobs there are in each phase."""
