"""Every name that two components must spell alike: API group, labels, Job names, file paths."""

import hashlib
import re
from collections.abc import Iterable
from datetime import UTC, datetime

GROUP = "backupexport.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

EXPORT_KIND = "BackupExport"
EXPORT_PLURAL = "backupexports"
TARGET_KIND = "ExportTarget"
TARGET_PLURAL = "exporttargets"

LABEL_EXPORT_UID = f"{GROUP}/export-uid"
LABEL_JOB_ID = f"{GROUP}/job-id"
LABEL_PROJECT_HASH = f"{GROUP}/project-hash"
LABEL_TASK = f"{GROUP}/task"
# On a Job for several exports, and on its pods: its name, and there alone the exports' uids.
LABEL_BATCH = f"{GROUP}/batch"
ANNOTATION_EXPORTS = f"{GROUP}/exports"
# On a Job that checks a storage, and on its pods: its name.
LABEL_CHECK = f"{GROUP}/check"
# On a Job that writes, reads or removes files: the storage that they are in, and where that is.
ANNOTATION_STORAGE = f"{GROUP}/storage"
ANNOTATION_STORAGE_ROOT = f"{GROUP}/storage-root"
ANNOTATION_STORAGE_ENDPOINT = f"{GROUP}/storage-endpoint"
ANNOTATION_REQUESTED_BY = f"{GROUP}/requested-by"
ANNOTATION_CREATED_AT = f"{GROUP}/created-at"
# Which links to its file are good: those of this generation, without those with an annotation of
# their own, whose name ends with the link's id.
ANNOTATION_LINKS_GENERATION = f"{GROUP}/links-generation"
ANNOTATION_LINK_TAKEN_BACK = f"{GROUP}/link-taken-back."

# On a BackupExport whose file must go before it does (artifactPolicy: Delete).
FINALIZER = f"{GROUP}/artifact"

MANAGED_BY = "backupexport-operator"
LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"

RUNNER_CONTAINER = "runner"
SECRET_VOLUME = "secret"
EXPORTS_VOLUME = "exports"
STORAGE_VOLUME = "storage"
SPOOL_VOLUME = "spool"

# A Job's name becomes the label batch.kubernetes.io/job-name of its pods, and a label value
# ends at 63 characters (https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/).
_LONGEST_JOB_NAME = 63
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_JOB_NAME_PREFIX = "bex-"
# No export's own Job, nor one beside it, has such a name.
_BATCH_NAME_PREFIX = "remove-files-"
_CHECK_NAME_PREFIX = "check-storage-"

ENCRYPTED = ".age"
# Neither pg_dump's own archive (.dump) nor age's format has a type of its own.
_OF_NO_TYPE = "application/octet-stream"
_MEDIA_TYPES = {
    "zst": "application/zstd",
    "gz": "application/gzip",
    "tar": "application/x-tar",
    "sql": "application/sql",
}
MEDIA_TYPES = (*_MEDIA_TYPES.values(), _OF_NO_TYPE)
_FILE_SUFFIX = {"none": "", "zstd": ".zst", "gzip": ".gz"}


def job_id_of(name: str, uid: str) -> str:
    """The id that REST knows a BackupExport by: its name where that is a UUID, else its uid."""
    return name if is_uuid(name) else uid


def is_uuid(text: str) -> bool:
    """Whether `text` is a UUID in its canonical lower-case spelling."""
    return re.fullmatch(_UUID, text) is not None


def job_name(export_name: str) -> str:
    """The one Job name a BackupExport may have, so that creating it twice is a conflict."""
    return _short_name(_JOB_NAME_PREFIX, export_name)


def task_job_name(export_name: str, task: str) -> str:
    """The name of a Job beside an export's own; never that of another's export Job."""
    return _short_name(f"{task}-{_JOB_NAME_PREFIX}", export_name)


def removal_batch_name(root: str, export_uids: Iterable[str]) -> str:
    """The name of the Job that removes these exports' files from the storage with this root.

    It is the same for whoever makes the Job.
    """
    contents = "\n".join((root, *sorted(export_uids)))
    return f"{_BATCH_NAME_PREFIX}{hashlib.sha256(contents.encode()).hexdigest()[:32]}"


def storage_check_name(contents: str) -> str:
    """The name of the Job with these contents that checks a storage."""
    return f"{_CHECK_NAME_PREFIX}{hashlib.sha256(contents.encode()).hexdigest()[:32]}"


def is_storage_check(text: str) -> bool:
    """Whether `text` is such a name, and no uid."""
    return text.startswith(_CHECK_NAME_PREFIX)


def is_removal_batch(text: str) -> bool:
    """Whether `text` is such a name, and no uid."""
    return text.startswith(_BATCH_NAME_PREFIX)


def _short_name(prefix: str, export_name: str) -> str:
    name = prefix + export_name
    if len(name) <= _LONGEST_JOB_NAME:
        return name
    digest = hashlib.sha256(export_name.encode()).hexdigest()[:10]
    head = name[: _LONGEST_JOB_NAME - len(digest) - 1].rstrip("-.")
    return f"{head}-{digest}"


def project_hash(project_id: str) -> str:
    """A label value for a project id, which itself may be too long or oddly shaped for one."""
    return hashlib.sha256(project_id.encode()).hexdigest()[:16]


def outer_compression(dump_format: str, compression: str) -> str:
    """How the file as a whole is compressed: a custom archive has its compression inside."""
    return "none" if dump_format == "custom" else compression


def artifact_file_name(
    created: datetime,
    job_id: str,
    dump_format: str,
    compression: str,
    *,
    is_encrypted: bool = False,
) -> str:
    """`<UTC time>-<job id>.<sql|tar>[.zst|.gz][.age]`, `.dump` for `.sql` in format custom.

    The time is the export's creation, not the attempt's start: a retry then replaces its own
    file and never leaves a second one.
    """
    stamp = created.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    ending = "dump" if dump_format == "custom" else dump_format
    suffix = _FILE_SUFFIX[outer_compression(dump_format, compression)]
    return f"{stamp}-{job_id}.{ending}{suffix}{ENCRYPTED if is_encrypted else ''}"


def artifact_path(project_id: str, storage_path: str | None, file_name: str) -> str:
    """Where an artifact lies, relative to the root of its storage."""
    return "/".join(part for part in (project_id, storage_path, file_name) if part)


def media_type(file_name: str) -> str:
    """The media type of a file as it is stored, by the last ending of its name."""
    return _MEDIA_TYPES.get(file_name.rpartition(".")[2], _OF_NO_TYPE)


_ARTIFACT_FILE_NAME = re.compile(
    rf"[0-9]{{8}}T[0-9]{{6}}Z-{_UUID}"
    r"\.(?:dump|(?:sql|tar)(?:\.zst|\.gz)?)(?:\.age)?"
)


def is_artifact_file_name(text: str) -> bool:
    """Whether `text` has the shape that `artifact_file_name` makes."""
    return _ARTIFACT_FILE_NAME.fullmatch(text) is not None
