"""The manifest beside an artifact, and an artifact read back from it."""

import json
import os
import stat
from collections.abc import Mapping
from dataclasses import asdict, fields

from backupexport_contract.runner_protocol import Artifact

from backupexport_runner.task.request import Request
from backupexport_runner.volume.artifact import _NO_FILE
from backupexport_runner.volume.failures import storage_failure


def manifest_text(request: Request, artifact: Artifact, started_at: str, completed_at: str) -> str:
    """JSON with the artifact's fields, and what makes sense of it without the cluster."""
    manifest = {
        **asdict(artifact),
        "job_id": request.job_id,
        "project_id": request.project_id,
        "format": request.format,
        "compression": request.compression,
        "created_at": request.created_at,
        "started_at": started_at,
        "completed_at": completed_at,
    }
    return json.dumps(manifest, indent=2) + "\n"


def artifact_of(manifest: Mapping[str, object], request: Request) -> Artifact | None:
    """The artifact that an earlier attempt of this very request completed, or None."""
    expected = {
        "path": request.artifact_path,
        "job_id": request.job_id,
        "project_id": request.project_id,
        "format": request.format,
        "compression": request.compression,
        "created_at": request.created_at,
    }
    if any(manifest.get(name) != value for name, value in expected.items()):
        return None
    values = {field.name: manifest.get(field.name) for field in fields(Artifact)}
    numbers = ("size_bytes", "uncompressed_bytes")
    for name, value in values.items():
        if type(value) is not (int if name in numbers else str):
            return None
    return Artifact(**values)  # type: ignore[arg-type]


def manifest_name(file_name: str) -> str:
    """The name of the artifact's manifest, beside it."""
    return f"{file_name}.json"


def read_manifest(directory: int, file_name: str) -> dict[str, object] | None:
    """The manifest of a whole artifact, or None.

    Whole means: both are regular files and the artifact has the size that the manifest says.
    Its checksum is not read again: the manifest gets its name only after the artifact has its
    own, and both only after they are on the disk.  Failure where the volume can't tell:
    None would have a good artifact removed.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        there = os.stat(file_name, dir_fd=directory, follow_symlinks=False)
        file = os.open(manifest_name(file_name), flags, dir_fd=directory)
        with os.fdopen(file, "rb") as stream:
            manifest = json.loads(stream.read(64 * 1024).decode())
    except (FileNotFoundError, IsADirectoryError, ValueError):
        return None
    except OSError as error:
        if error.errno in _NO_FILE:
            return None
        raise storage_failure(error) from error
    is_whole = (
        isinstance(manifest, dict)
        and stat.S_ISREG(there.st_mode)
        and manifest.get("size_bytes") == there.st_size
    )
    return manifest if is_whole else None
