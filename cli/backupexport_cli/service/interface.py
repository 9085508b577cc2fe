"""What commands ask of whatever keeps the exports: the api, or Kubernetes itself."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

Job = dict[str, Any]
"""A job as GET /api/jobs/{job_id} shows it (JobView of the api's OpenAPI document)."""

FINISHED = frozenset({"completed", "failed", "cancelled"})
"""Values of a job's `status` that never change again."""


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs are listed: None is any."""

    project_id: str | None = None
    status: str | None = None


class Exports(Protocol):
    """The exports of one server; each method raises CliError where it can't do what it says."""

    def create(self, request: dict[str, Any], idempotency_key: str) -> str:
        """Ask for an export and return its job id.

        `request` is the body of POST /api/backup/export.  Asked again with the same key, it makes
        no second one.
        """

    def job(self, job_id: str) -> Job:
        """Return a job as it is now."""

    def jobs(self, wanted: JobFilter, limit: int) -> list[Job]:
        """Return at most `limit` jobs, the newest first."""

    def states(self, job_id: str) -> Iterator[Job]:
        """Yield the job now and whenever it changes, until it has finished; cuts are bridged."""

    def cancel(self, job_id: str) -> None:
        """Stop a job that waits or runs."""
