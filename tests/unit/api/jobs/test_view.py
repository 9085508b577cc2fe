"""A BackupExport as REST shows it: a table."""

from typing import Any

import pytest
from backupexport_api.jobs.view import job_view
from backupexport_contract import names
from backupexport_contract.backup_export import BackupExport

UID = "7c0e1f0c-30f5-4f0a-8b0a-0e9d6c1e2f3a"
JOB_ID = "0b7cf3b6-6f2b-4c55-8f6c-0f6a3f0a7f10"

ARTIFACT = {
    "path": "proj-123/x.sql.zst",
    "sizeBytes": 1,
    "uncompressedBytes": 2,
    "sha256": "ab",
    "serverVersion": "17.5",
    "dumpVersion": "17.6",
    "displaySize": "1 B",
}


def view(
    *, name: Any = JOB_ID, annotations: Any = None, spec: Any = None, status: Any = None
) -> Any:
    export = BackupExport.model_validate(
        {
            "metadata": {
                "name": name,
                "namespace": "exports",
                "uid": UID,
                "creationTimestamp": "2026-01-29T15:30:00Z",
                "annotations": annotations or {},
            },
            "spec": {"projectId": "proj-123", **(spec or {})},
            "status": status or {},
        }
    )
    return job_view(export).model_dump()


def test_a_new_job() -> None:
    assert view() == {
        "job_id": JOB_ID,
        "status": "pending",
        "project_id": "proj-123",
        "format": "sql",
        "content": "all",
        "include_schemas": [],
        "exclude_schemas": [],
        "include_tables": [],
        "exclude_tables": [],
        "exclude_table_data": [],
        "owner": True,
        "privileges": True,
        "compress": True,
        "compression": "zstd",
        "storage_path": None,
        "requested_by": None,
        "created_at": "2026-01-29T15:30:00.000Z",
        "started_at": None,
        "completed_at": None,
        "progress": None,
        "artifact": None,
        "warnings": [],
        "restore_hints": [],
        "error": None,
        "notification": None,
        "deliveries": [],
    }


def told(kind: str, status: str, reason: str) -> dict[str, str]:
    time = "2026-01-29T15:31:00Z"
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": "So.",
        "lastTransitionTime": time,
    }


@pytest.mark.parametrize(
    ("condition", "expected"), [("Unknown", "pending"), ("True", "sent"), ("False", "failed")]
)
def test_what_became_of_deliveries(condition: str, expected: str) -> None:
    outcome = {
        "status": expected,
        "reason": "Why",
        "message": "So.",
        "at": "2026-01-29T15:31:00.000Z",
    }
    mail, file = told("Notified", condition, "Why"), told("Delivered", condition, "Why")
    assert view(status={"conditions": [mail]})["notification"] == outcome
    assert view(status={"conditions": [mail]})["deliveries"] == []
    assert view(status={"conditions": [file]})["notification"] is None
    assert view(status={"conditions": [file]})["deliveries"] == [outcome | {"kind": "telegram"}]


@pytest.mark.parametrize(
    ("phase", "status"),
    [
        (None, "pending"),
        ("Pending", "pending"),
        ("Running", "running"),
        ("Succeeded", "completed"),
        ("Failed", "failed"),
        ("Cancelled", "cancelled"),
    ],
)
def test_status(phase: Any, status: Any) -> None:
    assert view(status={"phase": phase})["status"] == status


@pytest.mark.parametrize(
    ("spec", "compress", "compression"),
    [
        ({}, True, "zstd"),
        ({"compression": "gzip"}, True, "gzip"),
        ({"compress": False}, False, None),
    ],
)
def test_compression(spec: Any, compress: Any, compression: Any) -> None:
    shown = view(spec=spec)
    assert (shown["compress"], shown["compression"]) == (compress, compression)


@pytest.mark.parametrize(
    ("annotation", "shown"),
    [
        ("2026-01-29T15:30:00.123Z", "2026-01-29T15:30:00.123Z"),
        ("2026-01-29T16:30:00+01:00", "2026-01-29T15:30:00.000Z"),
        ("yesterday", "2026-01-29T15:30:00.000Z"),
        ("2026-01-29T15:30:00", "2026-01-29T15:30:00.000Z"),
        ("", "2026-01-29T15:30:00.000Z"),
    ],
)
def test_created_at(annotation: Any, shown: Any) -> None:
    assert view(annotations={names.ANNOTATION_CREATED_AT: annotation})["created_at"] == shown


def test_the_id_of_a_job_made_with_kubectl() -> None:
    assert view(name="nightly")["job_id"] == UID


def test_requested_by() -> None:
    assert view(annotations={names.ANNOTATION_REQUESTED_BY: "alice"})["requested_by"] == "alice"


def test_a_running_job() -> None:
    shown = view(
        status={
            "phase": "Running",
            "startTime": "2026-01-29T15:30:05Z",
            "progress": {
                "percent": 42,
                "dumpedBytes": 123,
                "estimatedBytes": 456,
                "secondsLeft": 7,
                "display": "42%",
                "displayLeft": "7 s",
            },
        }
    )
    assert shown["started_at"] == "2026-01-29T15:30:05.000Z"
    assert shown["progress"] == {
        "percent": 42,
        "dumped_bytes": 123,
        "estimated_bytes": 456,
        "seconds_left": 7,
    }


def test_a_finished_job() -> None:
    shown = view(
        status={
            "phase": "Succeeded",
            "completionTime": "2026-01-29T15:31:00.5Z",
            "artifact": {**ARTIFACT, "restoreWith": "psql of PostgreSQL 17"},
            "warnings": [{"code": "objects_left_out", "message": "Without subscriptions: a."}],
            "restoreHints": [{"code": "missing_roles", "message": "It wants the role b."}],
        }
    )
    assert shown["warnings"] == [
        {"code": "objects_left_out", "message": "Without subscriptions: a."}
    ]
    assert shown["restore_hints"] == [{"code": "missing_roles", "message": "It wants the role b."}]
    assert shown["completed_at"] == "2026-01-29T15:31:00.500Z"
    assert shown["error"] is None
    assert shown["artifact"] == {
        "path": "proj-123/x.sql.zst",
        "size_bytes": 1,
        "uncompressed_bytes": 2,
        "sha256": "ab",
        "server_version": "17.5",
        "dump_version": "17.6",
        "restore_with": "psql of PostgreSQL 17",
        "storage": None,
        "encrypted_to": [],
        "check_command": "echo 'ab  x.sql.zst' | sha256sum --check",
        "restore_command": "(set -o pipefail; zstd -tq x.sql.zst && zstd -dc x.sql.zst | "
        "psql -X --single-transaction -v ON_ERROR_STOP=1 -d DATABASE)",
    }


def test_an_encrypted_file() -> None:
    artifact = ARTIFACT | {"path": "proj-123/x.sql.zst.age", "encryptedTo": ["SHA256:a"]}
    done = {"phase": "Succeeded", "completionTime": "2026-01-29T15:31:00Z", "artifact": artifact}
    shown = view(status=done)["artifact"]
    assert shown["encrypted_to"] == ["SHA256:a"]
    assert shown["check_command"] == "echo 'ab  x.sql.zst.age' | sha256sum --check"
    assert shown["restore_command"].startswith("age -d -i KEY -o x.sql.zst x.sql.zst.age && ")


def test_what_the_target_leaves_out_is_shown() -> None:
    shown = view(
        spec={"excludeTables": ["a", "b"], "content": "data"},
        status={"targetExcludes": {"excludeTables": ["b", "c"], "excludeSchemas": ["s"]}},
    )
    assert shown["exclude_tables"] == ["a", "b", "c"]
    assert (shown["exclude_schemas"], shown["content"]) == (["s"], "data")


@pytest.mark.parametrize("phase", ["Pending", "Failed"])
def test_error(phase: Any) -> None:
    shown = view(status={"phase": phase, "reason": "ImageUnavailable", "message": "Check it."})
    assert shown["error"] == {"reason": "ImageUnavailable", "message": "Check it."}


def test_a_message_alone_is_no_error() -> None:
    assert view(status={"phase": "Pending", "message": "Waiting its turn."})["error"] is None
