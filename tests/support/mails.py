"""Exports that ended, and the Jobs that send mails about them, for tests."""

import json
from typing import Any

from backupexport_contract import runner_protocol as protocol
from backupexport_contract.runner_protocol import Artifact, ExportEnd
from backupexport_runner.task.request import Request, read_request
from runner_bench import environment

ADDRESS = "Jane.Canary@example.com"
SENDER = "exports@backup.example.com"
API = "https://exports.example.com"


def request_of(**values: str) -> Request:
    dump_format, compression = values.pop("dump_format", "sql"), values.pop("compression", "zstd")
    return read_request(environment(dump_format, compression, **values))


def end_of(phase: str = "Succeeded", **values: Any) -> ExportEnd:
    """An end with everything that such an end can have."""
    fields: dict[str, Any] = {
        "phase": phase,
        "started_at": "2026-01-29T15:30:01.000Z",
        "completed_at": "2026-01-29T15:31:16.250Z",
        "requested_by": "user-7",
        "notify_email": ADDRESS,
        "api_url": API,
        "has_downloads": True,
    }
    if phase == "Succeeded":
        fields |= {
            "artifact": artifact_of(request_of()),
            "restore_command": "psql -f FILE",
            "expires_at": "2026-02-05T15:31:16.250Z",
        }
    else:
        reason = "Cancelled" if phase == "Cancelled" else "AuthenticationFailed"
        fields |= {"reason": reason, "message": "The server refuses the password: correct it."}
    return ExportEnd(**fields | values)


def artifact_of(request: Request) -> Artifact:
    return Artifact(request.artifact_path, 172_179_456, 900_000_000, "0a" * 32, "17.6", "17.5")


def delivery_environment(
    settings: dict[str, Any], secret: dict[str, str] | None = None, **values: str
) -> dict[str, str]:
    """What the operator gives the container of such a Job."""
    base = {name: value for name, value in environment().items() if "SECRET" not in name.upper()}
    given = {
        protocol.ENV_TASK: protocol.delivery_task("email"),
        protocol.ENV_EXPORT_END: protocol.export_end_text(end_of()),
        protocol.ENV_DELIVERY_SETTINGS: json.dumps(
            settings if secret is None else settings | {"secretRef": {"name": "smtp-login"}}
        ),
    }
    from_secret = {f"secret:{key}": value for key, value in (secret or {}).items()}
    return base | given | from_secret | values
