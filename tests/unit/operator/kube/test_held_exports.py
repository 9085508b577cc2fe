"""A packed export is small, and has what its removal needs."""

import uuid
from typing import Any

import builders
import pytest
from backupexport_contract.backup_export import BackupExport, BackupExportStatus
from backupexport_operator.kube.held_exports import PackedExports

SHED = ("message", "progress", "restore_hints", "target_excludes", "warnings")


def body(number: int = 0, **status: Any) -> dict[str, Any]:
    """A finished BackupExport as the API server has it, with a retention."""
    name, uid = (str(uuid.uuid5(uuid.NAMESPACE_OID, f"{kind}{number}")) for kind in "nu")
    told = {
        "phase": "Succeeded",
        "attempts": 1,
        "message": "A sentence. " * 20,
        "startTime": "2026-03-01T00:20:03Z",
        "completionTime": "2026-03-01T00:40:01Z",
        "expirationTime": "2026-03-01T00:40:01Z",
        "disposalPending": True,
        "artifact": builders.ARTIFACT_STATUS,
        "progress": {"percent": 100, "dumpedBytes": 1, "estimatedBytes": 1, "display": "100%"},
        "warnings": [{"code": "objects_left_out", "message": "Many. " * 100}] * 5,
        "conditions": [
            builders.condition(
                "Complete", "True", "Exported", "It is whole.", "2026-03-01T00:01:00Z"
            )
        ],
        **status,
    }
    annotations = {"backupexport.dev/created-at": "2026-03-01T00:00:05Z"}
    made = builders.export_manifest(
        name,
        status=told,
        uid=uid,
        annotations=annotations,
        resourceVersion=str(number),
        creationTimestamp="2026-03-01T00:00:00Z",
    )
    field = {"manager": "operator", "operation": "Update", "fieldsV1": {"f:status": {}}}
    made["metadata"]["managedFields"] = [field] * 10
    return made


def test_all_but_what_no_removal_needs_comes_back() -> None:
    held = PackedExports()
    assert held.hold(body())
    (uid,) = held
    export, empty = BackupExport.model_validate(body()), BackupExportStatus()
    slim = export.status.model_copy(update={name: getattr(empty, name) for name in SHED})
    assert held[uid] == export.model_copy(update={"status": slim})
    assert held[uid].path == export.path


def test_an_export_takes_some_hundred_bytes() -> None:
    held = PackedExports()
    for number in range(100):
        held.hold(body(number))
    assert len(held) == 100
    assert max(map(len, held._packed.values())) < 500


def test_only_a_change_is_news() -> None:
    held = PackedExports()
    assert held.hold(body())
    assert not held.hold(body())
    assert held.hold(body(expirationTime="2026-03-01T00:05:00Z"))


def test_what_was_written_is_held_and_what_is_dropped_is_not() -> None:
    held = PackedExports()
    export = BackupExport.model_validate(body())
    uid = export.metadata.uid
    held[uid] = export
    assert uid in held
    assert held[uid].metadata == export.metadata
    del held[uid]
    assert (uid in held, held.get(uid), len(held)) == (False, None, 0)


def test_one_that_no_schema_of_today_allows_is_not_there() -> None:
    held = PackedExports()
    odd = body()
    odd["spec"]["format"] = "parchment"
    assert held.hold(odd)
    (uid,) = held
    with pytest.raises(KeyError):
        held[uid]
