"""What the caches hold: a small object for each resource, made when the resource changes."""

import sys
from dataclasses import dataclass
from typing import Any, Self

from backupexport_contract import timestamps
from backupexport_contract.backup_export import BackupExport
from backupexport_contract.reasons import Phase

from backupexport_api.jobs.finished_file import FinishedFile
from backupexport_api.jobs.link_state import LinkState
from backupexport_api.jobs.query import Position
from backupexport_api.jobs.view import job_view
from backupexport_api.kube.informer import CachedResource


@dataclass(frozen=True, slots=True)
class CachedJob(CachedResource):
    """A BackupExport."""

    uid: str
    job_id: str
    project_id: str
    phase: Phase
    cancel_requested: bool
    is_settled: bool
    """Whether it has ended and every delivery, too: it will not change any more."""
    created_ms: int
    """Since 1970, in milliseconds."""
    file: FinishedFile | None
    """Its file, once it is completed."""
    links: LinkState
    """Which links to its file are good."""
    json: bytes
    """The JobView, encoded: a poll costs neither parsing nor rendering."""

    @classmethod
    def of(cls, data: dict[str, Any]) -> Self:
        """Read a BackupExport; raises ValueError where this version doesn't understand it."""
        export = BackupExport.model_validate(data)
        view = job_view(export)
        # An annotation written by hand may say a time before 1970.
        created_ms = max(0, round(timestamps.from_text(view.created_at).timestamp() * 1000))
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
            created_ms=created_ms,
            file=FinishedFile.of(export),
            links=LinkState.of(export.metadata.annotations),
            json=view.model_dump_json().encode(),
        )

    @property
    def position(self) -> Position:
        """Where the job stands in a list."""
        return self.created_ms, self.job_id


@dataclass(frozen=True, slots=True)
class CachedTarget(CachedResource):
    """An ExportTarget: its project, and what somebody who exports should know of it."""

    project_id: str
    created_at: str
    """RFC 3339; of two targets with one project the older serves, of one second the first."""
    is_suspended: bool
    requires_encryption: bool
    wants_recipient: bool
    """Whether an export that names no recipient is refused."""

    @classmethod
    def of(cls, data: dict[str, Any]) -> Self:
        """Read an ExportTarget."""
        metadata, spec = data["metadata"], data["spec"]
        encryption = spec.get("encryption") or {}
        is_required = bool(encryption.get("required"))
        return cls(
            metadata["name"],
            metadata["resourceVersion"],
            spec["projectId"],
            metadata["creationTimestamp"],
            bool(spec.get("suspend")),
            is_required,
            is_required and not encryption.get("recipients"),
        )
