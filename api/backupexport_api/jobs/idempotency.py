"""Idempotency-Key: the same caller repeating the same request gets the same job.

The job's id follows from the key and is the resource's name, of which Kubernetes stores one.  A key
is good for as long as its job exists.  (The header: draft-ietf-httpapi-idempotency-key-header.)
"""

import hashlib
import re
import uuid
from collections.abc import Sequence

from backupexport_contract import names
from backupexport_contract.backup_export import BackupExport, ExportOptions

from backupexport_api.http.problems import invalid_field
from backupexport_api.jobs.request import ExportRequest

HEADER = "Idempotency-Key"
LONGEST_KEY = 255

_VISIBLE = re.compile(rf"[\x21-\x7e]{{1,{LONGEST_KEY}}}")


def key_of(values: Sequence[str]) -> str | None:
    """Return the key in all values of the header, if there is one; raises ProblemError (400)."""
    if not values:
        return None
    if len(values) > 1:
        raise invalid_field(HEADER, "bad_key", "must be given once")
    if not _VISIBLE.fullmatch(values[0]):
        message = f"must be 1 to {LONGEST_KEY} visible ASCII characters"
        raise invalid_field(HEADER, "bad_key", message)
    return values[0]


def job_id_of(subject: str, key: str) -> str:
    """Return the version-4 UUID of `subject`'s `key`, the same one every time."""
    digest = hashlib.sha256(f"{len(subject)}:{subject}:{key}".encode()).digest()
    return str(uuid.UUID(bytes=digest[:16], version=4))


def is_repeated(stored: BackupExport, request: ExportRequest, subject: str) -> bool:
    """Return whether `stored` is what `request` by `subject` asks for."""
    by_subject = stored.metadata.annotations.get(names.ANNOTATION_REQUESTED_BY) == subject
    return by_subject and _wishes(stored.spec) == _wishes(request)


def _wishes(options: ExportOptions) -> dict[str, object]:
    return options.model_dump(include=set(ExportOptions.model_fields))
