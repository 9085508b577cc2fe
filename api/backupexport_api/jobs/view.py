"""The models of what REST shows of a BackupExport, and the functions that make them."""

from dataclasses import asdict
from typing import Any, Literal

from backupexport_contract import names, timestamps
from backupexport_contract.backup_export import (
    ArtifactFields,
    BackupExport,
    ProgressFields,
    RemarkFields,
    selection_of,
)
from backupexport_contract.deliveries import Deliveries, conditions_by_kind
from backupexport_contract.fields import Compression, Content, Format
from backupexport_contract.kubernetes_model import Condition, FrozenModel
from backupexport_contract.reasons import REST_STATUS
from backupexport_contract.restore_commands import check_command, restore_command

_DELIVERY_STATUS = {"True": "sent", "False": "failed", "Unknown": "pending"}

JobStatus = Literal["pending", "running", "completed", "failed", "cancelled"]


class AcceptedView(FrozenModel):
    """A job that has just been stored."""

    job_id: str
    """A version-4 UUID."""
    status: JobStatus
    """How far the job is."""
    project_id: str
    """The project whose database is exported."""
    created_at: str
    """When the request was accepted; UTC."""


class ProgressView(ProgressFields):
    """How far the dump has come."""


class ArtifactView(ArtifactFields):
    """The finished file."""

    check_command: str
    """A shell command that compares the file in the current directory with its checksum."""
    restore_command: str
    """A command for bash that restores the file in the current directory into DATABASE."""


class RemarkView(RemarkFields):
    """What whoever restores the file should know."""


class ErrorView(FrozenModel):
    """Why the job has failed, or can't go on for now."""

    reason: str
    """One word, for programs."""
    message: str
    """One sentence that says what to do."""


class NotificationView(FrozenModel):
    """Whether the export's owner was told."""

    status: Literal["pending", "sent", "failed"]
    """pending while it is tried; sent and failed are final."""
    reason: str
    """One word, for programs."""
    message: str
    """One sentence; where it failed it says what to do."""
    at: str
    """When `status` last changed; UTC."""


class DeliveryView(NotificationView):
    """Whether the file was brought to where its owner wants it."""

    kind: str
    """The way it goes, such as telegram."""


class JobView(AcceptedView):
    """A job. Parts that don't exist yet are null."""

    job_id: str
    """A UUID."""
    format: Format
    """sql is plain SQL for psql; tar and custom are pg_dump's archives for pg_restore."""
    content: Content
    """schema leaves out the rows, data leaves out the definitions."""
    include_schemas: list[str]
    """Only these schemas, unless it is empty."""
    exclude_schemas: list[str]
    """Not these schemas; what the project's target leaves out is among them."""
    include_tables: list[str]
    """Only these tables, unless it is empty."""
    exclude_tables: list[str]
    """Not these tables; what the project's target leaves out is among them."""
    exclude_table_data: list[str]
    """Not the rows of these tables; what the project's target leaves out is among them."""
    owner: bool
    """Whether a restore gives the objects to the owners that they had."""
    privileges: bool
    """Whether a restore grants what was granted."""
    compress: bool
    """Whether the file is compressed."""
    compression: Compression | None
    """How the file is compressed; null when it is not."""
    storage_path: str | None
    """The directory below the project's own."""
    requested_by: str | None
    """The sub of the token that asked for it; null for a job made with kubectl."""
    started_at: str | None
    """When the first attempt began; UTC."""
    completed_at: str | None
    """When the job ended, well or not; UTC."""
    progress: ProgressView | None
    """How far the dump has come."""
    artifact: ArtifactView | None
    """The finished file."""
    warnings: list[RemarkView]
    """What a complete export left out, and what pg_dump warned of."""
    restore_hints: list[RemarkView]
    """What a restore of the file needs."""
    error: ErrorView | None
    """Why the job has failed, or can't go on for now."""
    notification: NotificationView | None
    """The mail to notify_email; null where none was asked for, or the job has not ended."""
    deliveries: list[DeliveryView]
    """What else becomes of the finished file; never why a job has failed."""


def accepted_view(export: BackupExport) -> AcceptedView:
    """Return what REST shows of a job that has just been stored."""
    return AcceptedView(
        job_id=export.job_id,
        status=REST_STATUS[export.phase],
        project_id=export.spec.project_id,
        created_at=_created_at(export),
    )


def job_view(export: BackupExport) -> JobView:
    """Return what REST shows of a job; raises ValueError where a time is malformed."""
    spec, status = export.spec, export.status
    progress = status.progress
    told = conditions_by_kind(status)
    notifications = {kind for kind, form in Deliveries.kinds().items() if form.is_notification}
    return JobView(
        **accepted_view(export).model_dump(),
        format=spec.format,
        **asdict(selection_of(spec, status.target_excludes)),
        compress=spec.compress,
        compression=(spec.compression or "zstd") if spec.compress else None,
        storage_path=spec.storage_path,
        requested_by=export.metadata.annotations.get(names.ANNOTATION_REQUESTED_BY),
        started_at=_normalised(status.start_time),
        completed_at=_normalised(status.completion_time),
        progress=progress and ProgressView.model_validate(progress, from_attributes=True),
        artifact=_artifact_view(export),
        warnings=[RemarkView(**asdict(each.remark)) for each in status.warnings],
        restore_hints=[RemarkView(**asdict(each.remark)) for each in status.restore_hints],
        error=status.reason and ErrorView(reason=status.reason, message=status.message or ""),
        notification=next(
            (NotificationView(**_outcome(told[kind])) for kind in notifications & told.keys()), None
        ),
        deliveries=[
            DeliveryView(kind=kind, **_outcome(condition))
            for kind, condition in told.items()
            if kind not in notifications
        ],
    )


def _artifact_view(export: BackupExport) -> ArtifactView | None:
    artifact, dump = export.status.artifact, export.dump_file
    if artifact is None or dump is None:
        return None
    return ArtifactView(
        **artifact.model_dump(include=set(ArtifactFields.model_fields)),
        check_command=check_command(artifact.path, artifact.sha256),
        restore_command=restore_command(dump),
    )


def _outcome(condition: Condition) -> dict[str, Any]:
    return {
        "status": _DELIVERY_STATUS[condition.status],
        "reason": condition.reason,
        "message": condition.message,
        "at": _normalised(condition.last_transition_time),
    }


def _created_at(export: BackupExport) -> str:
    try:
        return timestamps.to_text(timestamps.from_text(export.created_at))
    except ValueError:
        # Whoever may write BackupExports may write anything into the annotation.
        return timestamps.to_text(timestamps.from_text(export.metadata.creation_timestamp))


def _normalised(time: str | None) -> str | None:
    return None if time is None else timestamps.to_text(timestamps.from_text(time))
