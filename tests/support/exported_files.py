"""Finished exports of the tests: a file on a volume, and the resource that tells of it."""

import hashlib
import random
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from backupexport_contract import names

CONTENT = random.Random(8).randbytes(5000)
JOB_ID = "0b7cbb51-7c4f-4f52-9b0e-3f6a2b1c9d8e"
COMPLETED = "2026-01-29T15:40:12Z"
LAST_MODIFIED = "Thu, 29 Jan 2026 15:40:12 GMT"


@dataclass(frozen=True)
class Exported:
    """What an export has left; `spec` and `status` are its resource's."""

    content: bytes = field(repr=False)
    file: Path
    spec: dict[str, Any]
    status: dict[str, Any]
    job_id: str = JOB_ID

    @property
    def url(self) -> str:
        """Where the file is fetched."""
        return f"/api/jobs/{self.job_id}/download"

    @property
    def link_url(self) -> str:
        """Where a link is made."""
        return f"/api/jobs/{self.job_id}/link"

    @property
    def etag(self) -> str:
        """The one it must have."""
        return f'"{hashlib.sha256(self.content).hexdigest()}"'

    @property
    def manifest(self) -> dict[str, Any]:
        """The resource without its status."""
        return {
            "apiVersion": names.API_VERSION,
            "kind": names.EXPORT_KIND,
            "metadata": {"name": self.job_id, "namespace": "exports", "resourceVersion": "1"},
            "spec": self.spec,
        }


def export(root: Path, content: bytes = CONTENT, *, job_id: str = JOB_ID, **spec: Any) -> Exported:
    """Write the file that an export with this `spec` leaves below `root`."""
    spec = {"projectId": "proj-123", **spec}
    compression = spec.get("compression", "zstd") if spec.get("compress", True) else "none"
    created = datetime(2026, 1, 29, 15, 30, tzinfo=UTC)
    file_name = names.artifact_file_name(
        created,
        job_id,
        spec.get("format", "sql"),
        compression,
        is_encrypted=bool(spec.get("encryptTo")),
    )
    path = "/".join(filter(None, (spec["projectId"], spec.get("storagePath"), file_name)))
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    status = {
        "phase": "Succeeded",
        "completionTime": COMPLETED,
        "artifact": {
            "path": path,
            "sizeBytes": len(content),
            "uncompressedBytes": 2 * len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "serverVersion": "17.5",
            "dumpVersion": "17.6",
            "displaySize": "some",
        },
    }
    return Exported(content, file, spec, status, job_id)


def another_id() -> str:
    """An id that no job has."""
    return str(uuid.uuid4())


def times_open(file: Path) -> int:
    """How often this process has the file open."""
    return sum(_target(link) == file for link in Path("/proc/self/fd").iterdir())


def _target(link: Path) -> Path | None:
    try:
        return link.readlink()
    except OSError:
        return None
