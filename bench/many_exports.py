"""Exports and targets as a busy installation would have them after a month, by the thousand."""

import itertools
import json
import random
import re
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import load_client
from backupexport_contract import names, timestamps
from backupexport_contract.readable import readable_size
from playground.tools import STATE, ToolError, environment, kubectl

PROJECTS = tuple(f"proj-{number:02}" for number in range(50))
# The part that waits or runs, where not all are finished.
UNFINISHED = 0.04
_CONNECTIONS = 16
_JSON = {"Content-Type": "application/json"}
_MERGE_PATCH = {"Content-Type": "application/merge-patch+json"}
_AGE = timedelta(days=30)
_TOOK = timedelta(seconds=95)
_SHA256 = "5feceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e9"


class Export(NamedTuple):
    """Whose an export is, and when it was created."""

    job_id: str
    project_id: str
    created: datetime


def make_targets(namespace: str, projects: Sequence[str] = PROJECTS, **spec: Any) -> None:
    """An ExportTarget for each project; nothing runs, so nobody misses the Secret."""
    path = _path(namespace, names.TARGET_PLURAL)
    created = (
        _create(
            path,
            {
                "apiVersion": names.API_VERSION,
                "kind": names.TARGET_KIND,
                "metadata": {"name": project},
                "spec": {"projectId": project, "secretRef": {"name": project}, **spec},
            },
        )
        for project in projects
    )
    with _kubectl_proxy() as port:
        load_client.generate(port, created, connections=_CONNECTIONS, status=201)


def fill(namespace: str, count: int, *, finished: bool = False) -> list[str]:
    """Create `count` BackupExports with the states that an operator would have left; their ids.

    `finished`: none of them waits or runs any more.
    """
    # Seeded: alike from run to run.
    chance = random.Random(count)
    least = UNFINISHED if finished else 0.0
    now = timestamps.now()
    jobs = [
        Export(str(uuid.uuid4()), PROJECTS[number % len(PROJECTS)], now - _AGE * (number / count))
        for number in range(count)
    ]
    path = _path(namespace, names.EXPORT_PLURAL)
    created = (_create(path, manifest(*job)) for job in jobs)
    told = (
        load_client.request(
            "PATCH",
            f"{path}/{job.job_id}/status",
            _MERGE_PATCH,
            json.dumps({"status": status(*job, chance.uniform(least, 1))}).encode(),
        )
        for job in jobs
    )
    with _kubectl_proxy() as port:
        load_client.generate(port, created, connections=_CONNECTIONS, status=201)
        load_client.generate(port, told, connections=_CONNECTIONS, status=200)
    return [job.job_id for job in jobs]


def create(namespace: str, project_id: str) -> Export:
    """Create one BackupExport."""
    sent = manifest(str(uuid.uuid4()), project_id, timestamps.now())
    told = kubectl(
        "-n", namespace, "create", "-f", "-", "-o", "json", stdin=json.dumps(sent)
    )  # fmt: skip
    stored_as = json.loads(told)["metadata"]
    # The API server's own time, after which the file is named.
    created = timestamps.from_text(stored_as["creationTimestamp"])
    return Export(stored_as["name"], project_id, created)


def end_well(namespace: str, export: Export, size: int, sha256: str) -> None:
    """Give a BackupExport the status of one that has left a file."""
    patch = json.dumps({"status": succeeded(*export, size, 4 * size, sha256)})
    kubectl(
        "-n", namespace, "patch", names.EXPORT_PLURAL, export.job_id,
        "--subresource=status", "--type=merge", "-p", patch,
    )  # fmt: skip


def stored(namespace: str) -> int:
    """How many BackupExports the API server has."""
    page = json.loads(kubectl("get", "--raw", f"{_path(namespace, names.EXPORT_PLURAL)}?limit=1"))
    return len(page["items"]) + int(page["metadata"].get("remainingItemCount", 0))


def new_manifests(count: int) -> list[dict[str, Any]]:
    """Manifests of `count` new exports."""
    now = timestamps.now()
    projects = itertools.islice(itertools.cycle(PROJECTS), count)
    return [manifest(str(uuid.uuid4()), project, now) for project in projects]


def manifest(job_id: str, project_id: str, created: datetime) -> dict[str, Any]:
    """A BackupExport as the API makes it."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.EXPORT_KIND,
        "metadata": {
            "name": job_id,
            "labels": {
                names.LABEL_JOB_ID: job_id,
                names.LABEL_PROJECT_HASH: names.project_hash(project_id),
            },
            "annotations": {
                names.ANNOTATION_REQUESTED_BY: "nightly@example.com",
                names.ANNOTATION_CREATED_AT: timestamps.to_text(created),
            },
        },
        "spec": {"projectId": project_id, "format": "sql", "compress": True},
    }


def status(job_id: str, project_id: str, created: datetime, chance: float) -> dict[str, Any]:
    """How such an export may have ended: 9 of 10 well."""
    if chance < 0.02:
        return {"phase": "Pending", "jobName": names.job_name(job_id)}
    size, dumped = 171_966_464, 819_200_000
    told = _begun(job_id, created)
    if chance < UNFINISHED:
        return told | {"phase": "Running", "progress": _progress(42, dumped)}
    if chance < 0.1:
        return told | {
            "completionTime": kubernetes_time(created + _TOOK),
            "phase": "Failed",
            "reason": "AuthenticationFailed",
            "message": "The server refuses the user or its password: correct the Secret's keys"
            " username and password.",
            "conditions": [_condition("Failed", "AuthenticationFailed", created)],
        }
    return succeeded(job_id, project_id, created, size, dumped)


def succeeded(
    job_id: str, project_id: str, created: datetime, size: int, dumped: int, sha256: str = _SHA256
) -> dict[str, Any]:
    """The status of an export that has ended well, with a file of `size` bytes."""
    return _begun(job_id, created) | {
        "completionTime": kubernetes_time(created + _TOOK),
        "phase": "Succeeded",
        "progress": _progress(100, dumped),
        "artifact": {
            "path": artifact_path(job_id, project_id, created),
            "sizeBytes": size,
            "uncompressedBytes": dumped,
            "sha256": sha256,
            "serverVersion": "17.5",
            "dumpVersion": "17.6",
            "displaySize": readable_size(size),
        },
        "conditions": [_condition("Complete", "Exported", created)],
    }


def artifact_path(job_id: str, project_id: str, created: datetime) -> str:
    """Where the file of such an export is on the volume."""
    file = names.artifact_file_name(created, job_id, "sql", "zstd")
    return names.artifact_path(project_id, None, file)


def _begun(job_id: str, created: datetime) -> dict[str, Any]:
    return {
        "observedGeneration": 1,
        "jobName": names.job_name(job_id),
        "attempts": 1,
        "startTime": kubernetes_time(created + timedelta(seconds=2)),
    }


def _progress(percent: int, dumped: int) -> dict[str, Any]:
    return {
        "percent": percent,
        "dumpedBytes": dumped * percent // 100,
        "estimatedBytes": dumped,
        "display": f"{percent}%",
    }


def _condition(kind: str, reason: str, created: datetime) -> dict[str, Any]:
    return {
        "type": kind,
        "status": "True",
        "reason": reason,
        "message": "",
        "lastTransitionTime": kubernetes_time(created + _TOOK),
    }


def kubernetes_time(moment: datetime) -> str:
    """A moment as Kubernetes writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _path(namespace: str, plural: str) -> str:
    return f"/apis/{names.API_VERSION}/namespaces/{namespace}/{plural}"


def _create(path: str, manifest_of_it: dict[str, Any]) -> bytes:
    return load_client.request("POST", path, _JSON, json.dumps(manifest_of_it).encode())


@contextmanager
def _kubectl_proxy() -> Iterator[int]:
    """A port of plain HTTP that leads to the API server: whoever we are, kubectl knows."""
    command = [str(STATE / "bin" / "kubectl"), "proxy", "--port=0"]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            port = re.search(r":(\d+)\s*$", line)
            if port is None:
                raise ToolError(f"kubectl proxy said {line!r} instead of its port")
            yield int(port[1])
        finally:
            process.terminate()
