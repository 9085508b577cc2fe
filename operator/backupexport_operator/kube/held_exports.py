"""What is held of the finished exports that await something, by uid: whole, or packed.

All exports with a retention await their end, and there may be a hundred thousand of them.  A
BackupExport takes ten kilobytes of memory; packed it takes some hundred bytes, and is made anew
where it is needed.
"""

import json
import zlib
from collections.abc import Iterator, MutableMapping

from backupexport_contract import names
from backupexport_contract.backup_export import BackupExport

from backupexport_operator.kube.cluster import Body, valid_models

# What nothing that is done for a finished export reads.
_METADATA = ("managedFields", "selfLink")
_STATUS = ("message", "progress", "restoreHints", "targetExcludes", "warnings")
# No header, and room for the few kilobytes of one export.
_WINDOW = -12
# What most exports have alike, so that none of them keeps it.
_ALIKE = json.dumps(
    {
        "metadata": {
            "annotations": {
                names.ANNOTATION_CREATED_AT: "2026-01-01T00:00:00.000Z",
                names.ANNOTATION_REQUESTED_BY: "@example.com",
            },
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "finalizers": [names.FINALIZER],
            "generation": 1,
            "labels": {names.LABEL_JOB_ID: "", names.LABEL_PROJECT_HASH: ""},
            "name": "",
            "namespace": "",
            "resourceVersion": "",
            "uid": "",
        },
        "spec": {"artifactPolicy": "Delete", "compress": True, "compression": "zstd",
                 "format": "sql", "projectId": ""},
        "status": {
            "attempts": 1,
            "artifact": {"claim": "", "displaySize": " MiB", "dumpVersion": "17.6", "path": "",
                         "restoreWith": "PostgreSQL 17 or newer", "serverVersion": "17.5",
                         "sha256": "", "sizeBytes": 0, "storage": "default",
                         "uncompressedBytes": 0},
            "completionTime": "2026-01-01T00:00:00Z",
            "conditions": [
                {"lastTransitionTime": "2026-01-01T00:00:00Z", "message": "",
                 "observedGeneration": 1, "reason": "Exported", "status": "True",
                 "type": "Complete"}
            ],
            "disposalPending": True,
            "expirationTime": "2026-01-01T00:00:00Z",
            "jobName": "bex-",
            "observedGeneration": 1,
            "phase": "Succeeded",
            "retentionSeconds": 0,
            "startTime": "2026-01-01T00:00:00Z",
        },
    },
    separators=(",", ":"),
).encode()  # fmt: skip


class WholeExports(dict[str, BackupExport]):
    """The exports as they are."""

    def hold(self, body: Body) -> bool:
        """Keep the export of this JSON.  Returns whether that is news, or to be looked at again."""
        uid = body["metadata"]["uid"]
        self.pop(uid, None)
        for export in valid_models(BackupExport, [body]):
            self[uid] = export
        return True


class PackedExports(MutableMapping[str, BackupExport]):
    """The exports without what no removal needs, made anew each time that one is asked for."""

    def __init__(self) -> None:
        self._packed: dict[str, bytes] = {}

    def hold(self, body: Body) -> bool:
        """Keep the export of this JSON.  Returns whether it differs from what was held."""
        uid = body["metadata"]["uid"]
        packed = _pack(body)
        if self._packed.get(uid) == packed:
            return False
        self._packed[uid] = packed
        return True

    def __getitem__(self, uid: str) -> BackupExport:
        """Returns the export; KeyError where none is held, or only an older schema allowed it."""
        for export in valid_models(BackupExport, [_unpack(self._packed[uid])]):
            return export
        raise KeyError(uid)

    def __setitem__(self, uid: str, export: BackupExport) -> None:
        """Keep the export."""
        self._packed[uid] = _pack(export.to_manifest())

    def __delitem__(self, uid: str) -> None:
        """Drop the export."""
        del self._packed[uid]

    def __contains__(self, uid: object) -> bool:
        """Returns whether it is held."""
        return uid in self._packed

    def __iter__(self) -> Iterator[str]:
        """Yields the uids."""
        return iter(self._packed)

    def __len__(self) -> int:
        """Returns how many there are."""
        return len(self._packed)


def _pack(body: Body) -> bytes:
    slim = {
        "metadata": {k: v for k, v in body["metadata"].items() if k not in _METADATA},
        "spec": body["spec"],
        "status": {k: v for k, v in body.get("status", {}).items() if k not in _STATUS},
    }
    text = json.dumps(slim, separators=(",", ":"), sort_keys=True).encode()
    packer = zlib.compressobj(wbits=_WINDOW, memLevel=6, zdict=_ALIKE)
    return packer.compress(text) + packer.flush()


def _unpack(packed: bytes) -> Body:
    body: Body = json.loads(zlib.decompressobj(wbits=_WINDOW, zdict=_ALIKE).decompress(packed))
    return body
