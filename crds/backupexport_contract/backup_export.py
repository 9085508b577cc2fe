"""BackupExport as a typed model: the one home of its fields (ExportTarget: `export_target`).

The CRD's schema is generated from these models (`crd_schema`), attribute docstrings become the
text of `kubectl explain`.  Reading is lenient (unknown fields are ignored), because the API
server has already held a stored resource to its schema.
"""

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from backupexport_contract import names, runner_protocol, timestamps
from backupexport_contract.fields import (
    CEL_KEY,
    Compression,
    Content,
    EmailAddress,
    Format,
    Patterns,
    ProjectId,
    Recipients,
    Seconds,
    StoragePath,
)
from backupexport_contract.kubernetes_model import (
    Condition,
    FrozenModel,
    KubernetesModel,
    ObjectMeta,
    Timestamp,
)
from backupexport_contract.readable import readable_duration, readable_size
from backupexport_contract.reasons import Phase, Reason
from backupexport_contract.restore_commands import DumpFile

# Of `kubectl get`: name, type, JSON path, and 1 where `-o wide` alone shows it, else 0.
PRINTER_COLUMNS = (
    ("Project", "string", ".spec.projectId", 0),
    ("Format", "string", ".spec.format", 0),
    ("Phase", "string", ".status.phase", 0),
    ("Progress", "string", ".status.progress.display", 0),
    ("Size", "string", ".status.artifact.displaySize", 0),
    ("Left", "string", ".status.progress.displayLeft", 1),
    ("Reason", "string", ".status.reason", 1),
    ("Path", "string", ".status.artifact.path", 1),
    ("Age", "date", ".metadata.creationTimestamp", 0),
)

_PHASE_IS_FINAL: JsonDict = {
    "rule": "!(oldSelf in ['Succeeded', 'Failed', 'Cancelled']) || self == oldSelf",
    "message": "a finished phase never changes again",
}
_COMPRESSION_NEEDS_COMPRESS: JsonDict = {
    "rule": "self.compress || !has(self.compression)",
    "message": "compression is only allowed with compress: true",
}
_CANCEL_IS_FINAL: JsonDict = {
    "rule": "!oldSelf.cancel || self.cancel",
    "message": "cancel can't be undone: make a new BackupExport instead",
}
# Of the whole object, which alone sees spec and status.
CANCEL_BEFORE_THE_END: JsonDict = {
    "rule": (
        "self.spec.cancel == oldSelf.spec.cancel || !has(self.status) || !has(self.status.phase)"
        " || !(self.status.phase in ['Succeeded', 'Failed', 'Cancelled'])"
    ),
    "message": "the export has ended: there is nothing left to cancel",
}

ArtifactPolicy = Literal["Retain", "Delete"]


class ExportOptions(FrozenModel):
    """What a caller may ask for, alike over REST and in a BackupExport's spec."""

    project_id: ProjectId
    """The project whose database is exported; an ExportTarget with this projectId must exist."""
    format: Format = "sql"
    """sql is plain SQL for psql; tar and custom are pg_dump's archives for pg_restore."""
    content: Content = "all"
    """schema leaves out the rows, data leaves out the definitions."""
    include_schemas: Patterns | None = None
    """Only these schemas; patterns as pg_dump takes them, each of which must match something."""
    exclude_schemas: Patterns | None = None
    """Not these schemas; patterns as pg_dump takes them."""
    include_tables: Patterns | None = None
    """Only these tables; patterns as pg_dump takes them, each of which must match something."""
    exclude_tables: Patterns | None = None
    """Not these tables; patterns as pg_dump takes them."""
    exclude_table_data: Patterns | None = None
    """Not the rows of these tables; patterns as pg_dump takes them."""
    owner: bool = True
    """Whether a restore gives the objects to the owners that they had."""
    privileges: bool = True
    """Whether a restore grants what was granted."""
    compress: bool = True
    """Whether the file is compressed."""
    compression: Compression | None = None
    """How it is compressed, zstd unless given; only with compress: true."""
    encrypt_to: Recipients | None = None
    """Recipients of age who alone can read the file, besides the target's: age1…, or public keys
    ssh-ed25519 … or ssh-rsa …."""
    storage_path: StoragePath | None = None
    """A directory below the project's own, relative, in which the file is placed."""
    notify_email: EmailAddress | None = None
    """An address that gets a mail when the export ends, well or not."""


class BackupExportSpec(ExportOptions, KubernetesModel):
    """What to export and how. Immutable once created, except cancel from false to true."""

    model_config = ConfigDict(
        json_schema_extra={CEL_KEY: [_COMPRESSION_NEEDS_COMPRESS, _CANCEL_IS_FINAL]}
    )

    cancel: bool = False
    """Set to true to stop the export; can't be undone."""
    active_deadline_seconds: Seconds | None = None
    """How long the export may take in all, in seconds; the target's or chart's unless given."""
    retention_seconds: Seconds | None = None
    """How long a finished export is kept, in seconds; the target's or chart's unless given."""
    artifact_policy: ArtifactPolicy = "Retain"
    """Whether the file stays on the volume when this resource is deleted, or goes with it."""

    @property
    def effective_compression(self) -> str:
        """`none`, `zstd` or `gzip`, with the default filled in."""
        return (self.compression or "zstd") if self.compress else "none"


class ProgressFields(FrozenModel):
    """How far the dump has come, alike over REST and in a BackupExport's status."""

    percent: int = Field(ge=0, le=100)
    """0 to 100; 100 only when the export is complete."""
    dumped_bytes: int = Field(ge=0)
    """Bytes that pg_dump has written so far, before compression."""
    estimated_bytes: int = Field(ge=0)
    """What pg_dump is expected to write in all, guessed from the size of the tables."""
    seconds_left: int | None = Field(default=None, ge=0)
    """How long the rest of the dump is expected to take; absent until that can be guessed."""


class ProgressStatus(ProgressFields, KubernetesModel):
    """How far the dump has come."""

    display: str
    """percent as kubectl shows it."""
    display_left: str | None = None
    """secondsLeft as kubectl shows it."""

    @classmethod
    def of(cls, progress: runner_protocol.Progress) -> Self:
        """The status of what the runner told."""
        left = progress.seconds_left
        return cls(
            **asdict(progress),
            display=f"{progress.percent}%",
            display_left=readable_duration(left) if left else None,
        )


class ArtifactFields(FrozenModel):
    """The finished file, alike over REST and in a BackupExport's status."""

    path: str
    """Where the file lies, relative to the root of its storage."""
    size_bytes: int = Field(ge=0)
    """The file's size in bytes."""
    uncompressed_bytes: int = Field(ge=0)
    """The dump's size in bytes before compression."""
    sha256: str
    """SHA-256 of the file, in hexadecimal."""
    server_version: str
    """The version of the PostgreSQL server that was dumped."""
    dump_version: str
    """The version of the pg_dump that was used."""
    restore_with: str | None = None
    """The programs that can read the file, such as "pg_restore of PostgreSQL 17 or newer"."""
    storage: str | None = None
    """The storage that has the file, by its name in the chart."""
    encrypted_to: list[str] = Field(default_factory=list)
    """Fingerprints of the recipients who can decrypt the file; empty if it is not encrypted."""


class TargetExcludes(FrozenModel):
    """What an ExportTarget leaves out of every export of its project."""

    exclude_schemas: Patterns | None = None
    """Schemas that no export of this project has; patterns as pg_dump takes them."""
    exclude_tables: Patterns | None = None
    """Tables that no export of this project has; patterns as pg_dump takes them."""
    exclude_table_data: Patterns | None = None
    """Tables whose rows no export of this project has; patterns as pg_dump takes them."""


class TargetExcludesStatus(TargetExcludes, KubernetesModel):
    """What the export's ExportTarget left out."""


class RemarkFields(FrozenModel):
    """What whoever restores the file should know, alike over REST and in the status."""

    code: str
    """One word, for programs."""
    message: str
    """A sentence."""


class RemarkStatus(RemarkFields, KubernetesModel):
    """What whoever restores the file should know."""

    @classmethod
    def of(cls, remark: runner_protocol.Remark) -> Self:
        """The status of what the runner told."""
        return cls(**asdict(remark))

    @property
    def remark(self) -> runner_protocol.Remark:
        """It, as the runner told it."""
        return runner_protocol.Remark(self.code, self.message)


class ArtifactStatus(ArtifactFields, KubernetesModel):
    """The finished file."""

    claim: str | None = None
    """The PersistentVolumeClaim of the volume that the file lies on."""
    url: str | None = None
    """Where the file lies in a bucket: s3://, gs:// or az://, for whoever may read there."""
    endpoint: str | None = None
    """The URL of that bucket's server; absent where it is the cloud's own."""
    display_size: str
    """sizeBytes as kubectl shows it."""

    @classmethod
    def of(
        cls,
        artifact: runner_protocol.Artifact,
        claim: str | None = None,
        endpoint: str | None = None,
    ) -> Self:
        """The status of what the runner told, on the volume of `claim` or the bucket's server."""
        fields = {name: getattr(artifact, name) for name in ArtifactFields.model_fields}
        fields |= {
            "restore_with": artifact.restore_with or None,
            "storage": artifact.storage or None,
            "encrypted_to": list(artifact.encrypted_to),
            "url": artifact.url or None,
        }
        size = readable_size(artifact.size_bytes)
        return cls(**fields, claim=claim, endpoint=endpoint, display_size=size)


class BackupExportStatus(KubernetesModel):
    """What the operator has seen; written by the operator alone."""

    phase: Annotated[Phase | None, Field(json_schema_extra={CEL_KEY: [_PHASE_IS_FINAL]})] = None
    """Pending, Running, Succeeded, Failed or Cancelled."""
    observed_generation: int | None = None
    """The metadata.generation that this status was computed from."""
    job_name: str | None = None
    """The Job that carries the export out."""
    target_name: str | None = None
    """The ExportTarget that serves the export, as it was seen last."""
    target_deliveries: list[str] = Field(default_factory=list)
    """The deliveries of which that ExportTarget says anything; they wait for one that is gone."""
    retention_seconds: Seconds | None = None
    """How long the export is kept after its end, in seconds, as accepted; absent for good."""
    target_excludes: TargetExcludesStatus | None = None
    """What the ExportTarget leaves out, beside what the spec does."""
    storage: str | None = None
    """The storage that the export was accepted for, by its name in the chart."""
    storage_root: str | None = None
    """Where that storage was then: a volume's PersistentVolumeClaim, or a bucket's URL."""
    storage_endpoint: str | None = None
    """The URL of that bucket's server; absent where it is the cloud's own."""
    target_recipients: Recipients = Field(default_factory=list)
    """Recipients of age that the ExportTarget named, besides those of spec.encryptTo."""
    start_time: Timestamp | None = None
    """When the first attempt's container started."""
    completion_time: Timestamp | None = None
    """When the export ended, well or not."""
    attempts: int | None = Field(default=None, ge=0)
    """How many times the Job has started the runner."""
    progress: ProgressStatus | None = None
    """How far the dump has come."""
    artifact: ArtifactStatus | None = None
    """The finished file, once phase is Succeeded."""
    warnings: list[RemarkStatus] = Field(default_factory=list)
    """What a complete export left out, and what pg_dump warned of."""
    restore_hints: list[RemarkStatus] = Field(default_factory=list)
    """What a restore of the file needs."""
    reason: Reason | None = None
    """Why the export has failed, or can't go on for now, in one word for programs."""
    message: str | None = Field(default=None, max_length=32768)
    """Why, and what to do about it, in a sentence."""
    expiration_time: Timestamp | None = None
    """When the file and this resource are removed, once the export has ended."""
    disposal_pending: bool | None = None
    """Whether the file or this resource is still to go: an expirationTime, or artifactPolicy."""
    delivery_pending: bool | None = None
    """Whether a delivery is still to be made, once the export has ended."""
    conditions: list[Condition] = Field(default_factory=list)
    """Ready, Complete, Failed, Cancelled, Accepted; Notified and Delivered tell of deliveries."""

    @property
    def recorded_artifact(self) -> runner_protocol.Artifact | None:
        """The finished file, as the runner told of it."""
        if self.artifact is None:
            return None
        return runner_protocol.Artifact(
            **{name: getattr(self.artifact, name) for name in ArtifactFields.model_fields}
            | {
                "restore_with": self.artifact.restore_with or "",
                "storage": self.artifact.storage or "",
                "encrypted_to": tuple(self.artifact.encrypted_to),
            },
            url=self.artifact.url or "",
            warnings=tuple(remark.remark for remark in self.warnings),
            restore_hints=tuple(remark.remark for remark in self.restore_hints),
        )


def selection_of(
    options: ExportOptions, target: TargetExcludes | None
) -> runner_protocol.Selection:
    """What of the database goes into the file; what the target leaves out is never in it."""
    lists = {name: tuple(getattr(options, name) or ()) for name in runner_protocol.PATTERN_LISTS}
    for name in TargetExcludes.model_fields if target else ():
        lists[name] = tuple(dict.fromkeys((*lists[name], *(getattr(target, name) or ()))))
    return runner_protocol.Selection(
        content=options.content, owner=options.owner, privileges=options.privileges, **lists
    )


class BackupExport(KubernetesModel):
    """One export of one project's PostgreSQL database."""

    metadata: ObjectMeta
    spec: BackupExportSpec
    status: BackupExportStatus = BackupExportStatus()

    @property
    def phase(self) -> Phase:
        """The phase, Pending where the operator has not written one yet."""
        return self.status.phase or Phase.PENDING

    @property
    def job_id(self) -> str:
        """The id that REST knows this export by."""
        return names.job_id_of(self.metadata.name, self.metadata.uid)

    @property
    def created_at(self) -> str:
        """RFC 3339; finer than creationTimestamp's seconds where the api noted it."""
        return self.metadata.annotations.get(
            names.ANNOTATION_CREATED_AT, self.metadata.creation_timestamp
        )

    @property
    def dump_file(self) -> DumpFile | None:
        """What says how the finished file is restored; None before there is one."""
        artifact, spec = self.status.artifact, self.spec
        if artifact is None:
            return None
        return DumpFile(
            artifact.path,
            spec.format,
            spec.effective_compression,
            artifact.server_version,
            artifact.dump_version,
            spec.owner,
            spec.privileges,
        )

    @property
    def recipients(self) -> tuple[str, ...]:
        """To whom the file is encrypted, as far as status has the target's; empty for nobody."""
        given = (*self.status.target_recipients, *(self.spec.encrypt_to or ()))
        return tuple(dict.fromkeys(given))

    @property
    def file_name(self) -> str:
        """The artifact's file name, as `names.artifact_file_name` has it."""
        return names.artifact_file_name(
            timestamps.from_text(self.metadata.creation_timestamp),
            self.job_id,
            self.spec.format,
            self.spec.effective_compression,
            is_encrypted=bool(self.recipients),
        )

    @property
    def path(self) -> str:
        """Where the artifact lies, relative to its storage's root.

        It is made from the spec, and from whether status or spec have recipients.
        """
        return names.artifact_path(self.spec.project_id, self.spec.storage_path, self.file_name)

    def age(self, now: datetime) -> float:
        """Seconds since its creation, as fine as `created_at` where that can be believed."""
        created = timestamps.from_text(self.metadata.creation_timestamp)
        try:
            noted = timestamps.from_text(self.created_at)
        except ValueError:
            # Whoever may annotate may write anything there.
            noted = created
        if timedelta() <= noted - created < timedelta(seconds=1):
            created = noted
        return (now - created).total_seconds()
