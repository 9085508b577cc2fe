"""The states that a kubelet would write to a runner's pod: no node runs the benchmark's pods."""

from datetime import datetime
from typing import Any

import many_exports
from backupexport_contract import names
from backupexport_contract.runner_protocol import Artifact, Outcome, outcome_text


def running(started: datetime) -> dict[str, Any]:
    """The status of a pod whose container runs."""
    state = {"running": {"startedAt": many_exports.kubernetes_time(started)}}
    return {"phase": "Running", "containerStatuses": [_container(state, ready=True)]}


def succeeded(job_id: str, project_id: str, started: datetime, ended: datetime) -> dict[str, Any]:
    """The status of a pod whose runner has written a file and said so."""
    artifact = Artifact(
        path=many_exports.artifact_path(job_id, project_id, started),
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
            "startedAt": many_exports.kubernetes_time(started),
            "finishedAt": many_exports.kubernetes_time(ended),
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
