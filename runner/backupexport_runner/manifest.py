"""The manifest beside an artifact, and an artifact read back from it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields

from backupexport_contract.runner_protocol import Artifact

from backupexport_runner.request import Request


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
