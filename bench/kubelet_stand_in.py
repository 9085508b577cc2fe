"""The states that a kubelet would write to a runner's pod: no node runs the benchmark's pods."""

from datetime import UTC, datetime
from typing import Any

from backupexport_contract import names, timestamps
from backupexport_contract.runner_protocol import Artifact, Outcome, outcome_text


def running(started: datetime) -> dict[str, Any]:
    """The status of a pod whose container runs."""
    state = {"running": {"startedAt": _text(started)}}
    return {"phase": "Running", "containerStatuses": [_container(state, ready=True)]}


def succeeded(job_id: str, project_id: str, started: datetime, ended: datetime) -> dict[str, Any]:
    """The status of a pod whose runner has written a file and said so."""
    file = names.artifact_file_name(started, job_id, "sql", "zstd")
    artifact = Artifact(
        path=names.artifact_path(project_id, None, file),
        size_bytes=171_966_464,
        uncompressed_bytes=819_200_000,
        sha256="5feceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e9",
        server_version="17.5",
        dump_version="17.6",
    )
    state = {
        "terminated": {
            "exitCode": 0,
            "reason": "Completed",
            "startedAt": _text(started),
            "finishedAt": _text(ended),
            "message": outcome_text(Outcome(artifact)),
        }
    }
    return {"phase": "Succeeded", "containerStatuses": [_container(state, ready=False)]}


def _container(state: dict[str, Any], *, ready: bool) -> dict[str, Any]:
    return {
        "name": names.RUNNER_CONTAINER,
        "image": "runner",
        "imageID": "",
        "ready": ready,
        "restartCount": 0,
        "state": state,
    }


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def now() -> datetime:
    """The time of day, as all of the project writes it."""
    return timestamps.now()
