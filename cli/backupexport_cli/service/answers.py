"""What a server's answers must be before anything is made of them; pure."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from backupexport_contract import names, rules, timestamps

from backupexport_cli.service.interface import Job
from backupexport_cli.service.problems import nonsense

STATUSES = ("pending", "running", "completed", "failed", "cancelled")
_PATTERN_LISTS = (
    "include_schemas", "exclude_schemas", "include_tables", "exclude_tables", "exclude_table_data",
)  # fmt: skip
_MOST_TEXT = 20_000
_MOST_ITEMS = 1000
# More is no file's size, and no time's.
_MOST_NUMBER = 2**63

Check = Callable[[Any], bool]


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _MOST_TEXT


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST_NUMBER


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= _MOST_ITEMS and all(map(_is_text, value))


def _is_time(value: Any) -> bool:
    if not isinstance(value, str) or len(value) > 40:
        return False
    try:
        timestamps.from_text(value)
    except ValueError:
        return False
    return True


def _is_job_id(value: Any) -> bool:
    return isinstance(value, str) and names.is_uuid(value)


def _is_project_id(value: Any) -> bool:
    return isinstance(value, str) and rules.first_broken(rules.PROJECT_ID, value) is None


def _is_sha256(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


def _one_of(*values: str) -> Check:
    return lambda value: isinstance(value, str) and value in values


def _or_none(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _object(fields: Mapping[str, Check]) -> Check:
    return lambda value: isinstance(value, dict) and _first_wrong(value, fields) is None


def _list(check: Check) -> Check:
    return lambda value: (
        isinstance(value, list) and len(value) <= _MOST_ITEMS and all(map(check, value))
    )


def _first_wrong(value: Mapping[str, Any], fields: Mapping[str, Check]) -> str | None:
    return next((name for name, check in fields.items() if not check(value.get(name))), None)


_REMARKS = _list(_object({"code": _is_text, "message": _is_text}))
_OUTCOME: dict[str, Check] = {
    "status": _one_of("pending", "sent", "failed"),
    "reason": _is_text,
    "message": _is_text,
    "at": _is_time,
}
_PROGRESS = _object(
    {
        "percent": _is_number,
        "dumped_bytes": _is_number,
        "estimated_bytes": _is_number,
        "seconds_left": _or_none(_is_number),
    }
)
_ARTIFACT = _object(
    {
        "path": _is_text,
        "size_bytes": _is_number,
        "uncompressed_bytes": _is_number,
        "sha256": _is_sha256,
        "server_version": _is_text,
        "dump_version": _is_text,
        "restore_with": _or_none(_is_text),
        "storage": _or_none(_is_text),
        "encrypted_to": _or_none(_is_texts),
    }
)
_JOB: dict[str, Check] = {
    "job_id": _is_job_id,
    "status": _one_of(*STATUSES),
    "project_id": _is_project_id,
    "created_at": _is_time,
    "format": _one_of(*rules.FORMATS),
    "content": _one_of(*rules.CONTENTS),
    **dict.fromkeys(_PATTERN_LISTS, _is_texts),
    "owner": _is_flag,
    "privileges": _is_flag,
    "compress": _is_flag,
    "compression": _or_none(_one_of(*rules.COMPRESSIONS)),
    "storage_path": _or_none(_is_text),
    "requested_by": _or_none(_is_text),
    "started_at": _or_none(_is_time),
    "completed_at": _or_none(_is_time),
    "progress": _or_none(_PROGRESS),
    "artifact": _or_none(_ARTIFACT),
    "warnings": _REMARKS,
    "restore_hints": _REMARKS,
    "error": _or_none(_object({"reason": _is_text, "message": _is_text})),
    "notification": _or_none(_object(_OUTCOME)),
    "deliveries": _list(_object({"kind": _is_text, **_OUTCOME})),
}
# Of a server that is older than this program, or newer.
_ABSENT_OF_ARTIFACT = {
    "uncompressed_bytes": 0,
    "server_version": "",
    "dump_version": "",
    "restore_with": None,
    "storage": None,
    "encrypted_to": [],
}
_ABSENT: dict[str, Any] = {
    "content": "all",
    **{name: [] for name in _PATTERN_LISTS},
    "owner": True,
    "privileges": True,
    "compress": True,
    "compression": None,
    **dict.fromkeys(("storage_path", "requested_by", "started_at", "completed_at")),
    **dict.fromkeys(("progress", "artifact", "error", "notification")),
    **{name: [] for name in ("warnings", "restore_hints", "deliveries")},
}
_LINK: dict[str, Check] = {"url": _is_text, "link_id": _is_text, "expires_at": _is_time}
_PROJECT: dict[str, Check] = {
    "project_id": _is_project_id,
    "suspended": _is_flag,
    "encryption_required": _is_flag,
}


def job(value: Any, origin: str) -> Job:
    """Return the job, with all that a job has; raises CliError where it is none."""
    if isinstance(value, dict):
        value = _ABSENT | value
        if isinstance(value["artifact"], dict):
            value["artifact"] = _ABSENT_OF_ARTIFACT | value["artifact"]
    return _checked(value, _JOB, origin, "job")


def accepted_id(value: Any, origin: str) -> str:
    """Return the id of a job that was accepted; raises CliError where there is none."""
    found: str = _checked(value, {"job_id": _is_job_id}, origin, "job")["job_id"]
    return found


def link(value: Any, origin: str) -> dict[str, Any]:
    """Return the link; raises CliError where it is none."""
    return _checked(value, _LINK, origin, "link")


def project(value: Any, origin: str) -> dict[str, Any]:
    """Return the project; raises CliError where it is none."""
    found = _checked(value, _PROJECT, origin, "project")
    newest = found.get("newest_job")
    return found | {"newest_job": None if newest is None else job(newest, origin)}


def _checked(value: Any, fields: Mapping[str, Check], origin: str, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise nonsense(origin, f"a {what} is none")
    wrong = _first_wrong(value, fields)
    if wrong is not None:
        raise nonsense(origin, f"a {what} has no {wrong} that makes sense")
    return value
