"""What the caches hold: one small record for each resource, made once, when it changes.

A poll then costs neither parsing nor rendering, and ten thousand jobs stay small in memory.
"""

import sys
from dataclasses import dataclass
from typing import Any, Self

from backupexport_contract import timestamps
from backupexport_contract.backup_export import BackupExport
from backupexport_contract.reasons import Phase

from backupexport_api.jobs.finished_file import FinishedFile
from backupexport_api.jobs.query import Position
from backupexport_api.jobs.view import job_view


@dataclass(frozen=True, slots=True)
class CachedResource:
    """Any resource."""

    name: str
    resource_version: str

    @property
    def metadata(self) -> Self:
        """Where the client library's watch looks for the version from which to go on."""
        return self


@dataclass(frozen=True, slots=True)
class CachedJob(CachedResource):
    """A BackupExport."""

    uid: str
    job_id: str
    project_id: str
    phase: Phase
    cancel_requested: bool
    is_settled: bool
    """Whether it has ended, and every delivery with it: nothing more will come of it."""
    created_ms: int
    """Since 1970, in milliseconds."""
    file: FinishedFile | None
    """What it has left, once it is completed."""
    json: bytes
    """The JobView."""

    @classmethod
    def of(cls, data: dict[str, Any]) -> Self:
        """Read a resource; ValueError where this version doesn't understand it."""
        export = BackupExport.model_validate(data)
        view = job_view(export)
        return cls(
            name=export.metadata.name,
            resource_version=export.metadata.resource_version,
            uid=export.metadata.uid,
            job_id=export.job_id,
            # Thousands of jobs share a few projects.
            project_id=sys.intern(export.spec.project_id),
            phase=export.phase,
            cancel_requested=export.spec.cancel,
            is_settled=export.phase.is_finished and not export.status.delivery_pending,
            created_ms=_milliseconds(view.created_at),
            file=FinishedFile.of(export),
            json=view.model_dump_json().encode(),
        )

    @property
    def position(self) -> Position:
        """Where the job stands in a list."""
        return self.created_ms, self.job_id


@dataclass(frozen=True, slots=True)
class CachedTarget(CachedResource):
    """An ExportTarget: of all it says, the api asks for the project alone."""

    project_id: str

    @classmethod
    def of(cls, data: dict[str, Any]) -> Self:
        """Read a resource."""
        metadata = data["metadata"]
        return cls(metadata["name"], metadata["resourceVersion"], data["spec"]["projectId"])


def _milliseconds(text: str) -> int:
    # Before 1970 is only what somebody wrote by hand.
    return max(0, round(timestamps.from_text(text).timestamp() * 1000))
