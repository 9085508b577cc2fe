"""The manifest beside an artifact: how it is written, and the artifact read back from it."""

import json
from collections.abc import Mapping
from dataclasses import asdict

from backupexport_contract.restore_commands import DumpFile, check_command, restore_command
from backupexport_contract.runner_protocol import Artifact, Selection, read_artifact

from backupexport_runner.task.request import Request

# Patterns are most of it, of a BackupExport's and its target's; etcd stores no larger objects.
LARGEST_BYTES = 4 * 1024 * 1024


def manifest_name(file_name: str) -> str:
    """Returns the name of the artifact's manifest, beside it."""
    return f"{file_name}.json"


def manifest_text(
    request: Request, selection: Selection, artifact: Artifact, started_at: str, completed_at: str
) -> str:
    """Returns JSON with the artifact's fields, and with what explains it without the cluster."""
    dump = DumpFile(
        artifact.path,
        request.format,
        request.compression,
        artifact.server_version,
        artifact.dump_version,
        selection.owner,
        selection.privileges,
    )
    explained = {
        **asdict(artifact),
        "check_command": check_command(artifact.path, artifact.sha256),
        "restore_command": restore_command(dump),
        **_request_fields(request),
        **asdict(selection),
        "started_at": started_at,
        "completed_at": completed_at,
    }
    return json.dumps(explained, indent=2) + "\n"


def artifact_of(manifest: Mapping[str, object], request: Request) -> Artifact | None:
    """Returns the artifact, None if it is not this very request's."""
    expected = {"path": request.artifact_path, **_request_fields(request)}
    if any(manifest.get(name) != value for name, value in expected.items()):
        return None
    return read_artifact(manifest)


def _request_fields(request: Request) -> dict[str, str]:
    fields = ("job_id", "project_id", "format", "compression", "created_at")
    return {name: getattr(request, name) for name in fields}
