"""What the routes need from whatever keeps the jobs."""

from typing import Any, Protocol

from backupexport_contract.resources import BackupExport


class StoreUnavailableError(Exception):
    """The store did not answer, or did not let us; `detail` is for the client.

    The exception's own text says why and is for the log.
    """

    def __init__(self, detail: str, why: str) -> None:
        super().__init__(why)
        self.detail = detail


class StoreRefusedError(Exception):
    """The store found our object wrong, which is a bug of ours."""


class JobStore(Protocol):
    """Keeps jobs; each call answers within five seconds or raises StoreUnavailableError."""

    async def find_job(self, job_id: str) -> BackupExport | None:
        """Find a job by its id; None only where it certainly does not exist."""

    async def project_exists(self, project_id: str) -> bool:
        """Tell whether an ExportTarget serves the project."""

    async def create_job(self, manifest: dict[str, Any]) -> BackupExport:
        """Store a BackupExport for good and return it as stored."""

    async def unready(self) -> list[str]:
        """List what keeps the store from serving, a phrase each; empty when it is ready."""
