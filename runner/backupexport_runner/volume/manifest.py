"""The manifest beside an artifact: how it is written, and the artifact read back from it."""

import json
import stat
from collections.abc import Mapping
from dataclasses import asdict

from backupexport_contract.restore_commands import DumpFile, check_command, restore_command
from backupexport_contract.runner_protocol import Artifact, Selection, json_object, read_artifact
from backupexport_runtime import volume

from backupexport_runner.task.request import Request
from backupexport_runner.volume.failures import volume_errors

# Patterns are most of it, of a BackupExport's and its target's; etcd stores no larger objects.
_LARGEST_BYTES = 4 * 1024 * 1024


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


def whole_artifact(directory: int, request: Request) -> Artifact | None:
    """Returns the artifact that is complete in the directory; None if there is none of the request.

    Raises Failure if the volume can't tell.
    """
    manifest = read_manifest(directory, request.file_name)
    return artifact_of(manifest, request) if manifest else None


def artifact_of(manifest: Mapping[str, object], request: Request) -> Artifact | None:
    """Returns the artifact, None if it is not this very request's."""
    expected = {"path": request.artifact_path, **_request_fields(request)}
    if any(manifest.get(name) != value for name, value in expected.items()):
        return None
    return read_artifact(manifest)


def _request_fields(request: Request) -> dict[str, str]:
    fields = ("job_id", "project_id", "format", "compression", "created_at")
    return {name: getattr(request, name) for name in fields}


@volume_errors()
def read_manifest(directory: int, file_name: str) -> dict[str, object] | None:
    """Returns the manifest of a whole artifact: a regular file of the size that it says; else None.

    The checksum is not read again: the manifest gets its name only after the artifact has its own,
    and both only after they are on the disk.  Raises Failure if the volume can't tell: None would
    have a good artifact removed.
    """
    there = volume.look_up(directory, file_name)
    content = volume.read_file(directory, manifest_name(file_name), _LARGEST_BYTES)
    manifest = json_object(content or b"")
    is_whole = (
        manifest is not None
        and there is not None
        and stat.S_ISREG(there.st_mode)
        and manifest.get("size_bytes") == there.st_size
    )
    return manifest if is_whole else None
