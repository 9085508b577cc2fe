"""The file that a completed export has left, with what its resource says of it.

Whoever may write BackupExports may write any status; what makes no sense counts as no file.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from backupexport_contract import names, timestamps
from backupexport_contract.backup_export import BackupExport
from backupexport_contract.reasons import Phase

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class FinishedFile:
    """A whole file in its storage."""

    path: str
    """Relative to the storage's root; made from the export's spec and recipients, and the status
    has to agree."""
    size: int
    sha256: bytes
    completed_s: int
    """When the export was completed, in seconds since 1970."""
    expires_s: int | None
    """When its retention is over, in seconds since 1970; None where it has none."""
    claim: str | None = None
    """The PersistentVolumeClaim of its volume; None where nobody noted it, and of a bucket."""
    url: str | None = None
    """The URL of the object in its bucket, to be compared and never followed; None of a volume."""
    endpoint: str | None = None
    """The URL of the bucket's server, to be compared alike; None where it is the cloud's own."""
    storage: str | None = None
    """The storage's name then, which decides where several are the same place."""

    @classmethod
    def of(cls, export: BackupExport) -> Self | None:
        """Return the file of a completed export; None where its status makes no sense, too."""
        artifact, completed = export.status.artifact, export.status.completion_time
        if export.phase != Phase.SUCCEEDED or artifact is None or completed is None:
            return None
        if artifact.path != export.path or not _SHA256.fullmatch(artifact.sha256):
            return None
        if artifact.claim and artifact.url:
            return None
        expiration = export.status.expiration_time
        return cls(
            path=export.path,
            size=artifact.size_bytes,
            sha256=bytes.fromhex(artifact.sha256),
            completed_s=_seconds(completed),
            expires_s=None if expiration is None else _seconds(expiration),
            claim=artifact.claim,
            url=artifact.url,
            endpoint=artifact.endpoint,
            storage=artifact.storage,
        )

    @property
    def name(self) -> str:
        """The file's name, of letters, digits, dots and hyphens."""
        return self.path.rpartition("/")[2]

    @property
    def media_type(self) -> str:
        """The media type of the file as it is stored."""
        return names.media_type(self.name)

    def is_expired(self, now: datetime) -> bool:
        """Return whether its retention is over, so that it is removed or about to be."""
        return self.expires_s is not None and self.expires_s <= now.timestamp()


def _seconds(time: str) -> int:
    return max(0, int(timestamps.from_text(time).timestamp()))
