"""What happens to an export's Job, file and resource, from its turn to its removal."""

import itertools
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from failing_exports import MODEST
from installation import LARGE, SMALL, Installation
from playground.rest import Api
from playground.targets import export_manifest, make_target, read_export, target_name
from playground.tools import ToolError, apply, get, get_raw, kubectl, wait_for

pytestmark = pytest.mark.cluster

FINALIZER = "backupexport.dev/artifact"


def make_export(installation: Installation, name: str, **spec: Any) -> None:
    apply(export_manifest(installation.namespace, name, **spec))


def succeeded(installation: Installation, name: str) -> dict[str, Any]:
    kubectl(
        "-n", installation.namespace, "wait", "--for=condition=Complete", f"bex/{name}",
        "--timeout=300s",
    )  # fmt: skip
    return read_export(installation.namespace, name)


# kubectl's way, and that of Argo CD and others.
CASCADES = ("background", "foreground")


def is_gone(installation: Installation, name: str) -> bool:
    found = kubectl("-n", installation.namespace, "get", "bex", name, "--ignore-not-found")
    return not found.strip()


def delete(installation: Installation, name: str, cascade: str) -> None:
    """Delete an export, and wait until it is gone."""
    how = f"--cascade={cascade}"
    kubectl("-n", installation.namespace, "delete", "bex", name, how, "--timeout=300s")


def files_of(installation: Installation, export: dict[str, Any]) -> list[str]:
    uid = export["metadata"]["uid"]
    return [file for file in installation.volume.files(export["spec"]["projectId"]) if uid in file]


def tombstone_of(export: dict[str, Any]) -> str:
    """What a removal leaves."""
    directory, _, name = export["status"]["artifact"]["path"].rpartition("/")
    return f"{directory}/.{name}.removed"


def test_a_file_stays_when_its_export_is_deleted(installation: Installation) -> None:
    make_export(installation, "retained", projectId=SMALL)
    export = succeeded(installation, "retained")
    assert "finalizers" not in export["metadata"]
    kubectl("-n", installation.namespace, "delete", "bex", "retained", "--timeout=120s")
    path = export["status"]["artifact"]["path"]
    assert files_of(installation, export) == [path, f"{path}.json"]


@pytest.mark.parametrize("cascade", CASCADES)
def test_a_file_goes_with_its_export_where_the_policy_says_so(
    installation: Installation, cascade: str
) -> None:
    name = f"deleted-in-the-{cascade}"
    make_export(installation, name, projectId=SMALL, artifactPolicy="Delete")
    export = succeeded(installation, name)
    assert export["metadata"]["finalizers"] == [FINALIZER]
    assert len(files_of(installation, export)) == 2
    delete(installation, name, cascade)
    assert files_of(installation, export) == [tombstone_of(export)]


def test_what_has_expired_goes_with_its_file(installation: Installation) -> None:
    # Long enough for a busy machine to look at its files before they go.
    make_export(installation, "expiring", projectId=SMALL, retentionSeconds=20)
    export = succeeded(installation, "expiring")
    assert export["status"]["expirationTime"]
    assert len(files_of(installation, export)) == 2
    wait_for(lambda: is_gone(installation, "expiring"), "the removal", 300)
    assert files_of(installation, export) == [tombstone_of(export)]


def test_a_failed_export_holds_nothing_and_expires_too(installation: Installation) -> None:
    make_export(
        installation, "failed-and-expired", projectId="nobody-knows-this-one",
        artifactPolicy="Delete", retentionSeconds=1,
    )  # fmt: skip
    wait_for(lambda: is_gone(installation, "failed-and-expired"), "the removal", 240)


@pytest.mark.parametrize(
    ("policy", "cascade"),
    [("Retain", "background"), ("Delete", "background"), ("Delete", "foreground")],
)
def test_deleting_a_running_export_stops_its_job_and_leaves_no_file(
    installation: Installation, connection: dict[str, str], policy: str, cascade: str
) -> None:
    name = f"deleted-running-{policy.lower()}-{cascade}"
    # Little processor time, so that it runs for long.
    slow = {**MODEST, "limits": {"cpu": "150m", "memory": "256Mi"}}
    make_target(installation.namespace, name, {**connection, "database": LARGE}, resources=slow)
    make_export(installation, name, projectId=name, artifactPolicy=policy)
    export = read_export(installation.namespace, name)
    wait_for(
        lambda: read_export(installation.namespace, name).get("status", {}).get("progress"),
        "progress", 300,
    )  # fmt: skip
    # In it is the name of the pod that writes it.
    assert re.search(rf"@bex-{name}-[a-z0-9]+\.partial$", files_of(installation, export)[0])
    delete(installation, name, cascade)

    def rest() -> list[str]:
        found = kubectl("-n", installation.namespace, "get", "jobs,pods", "-o", "name")
        return [line for line in found.split() if f"/bex-{name}" in line]

    wait_for(lambda: not rest(), "the end of its Job", 240)
    wait_for(lambda: not files_of(installation, export), "the end of its partial file", 240)


def test_a_project_runs_one_at_a_time_and_the_others_say_their_place(
    installation: Installation, api: Api, connection: dict[str, str]
) -> None:
    namespace = installation.namespace
    make_target(namespace, "one-at-a-time", connection, maxConcurrent=1)
    posted = [api.export(project_id="one-at-a-time") for _ in range(3)]
    ids = [answer.body["data"]["job_id"] for answer in posted]

    def places() -> list[str] | None:
        statuses = [read_export(namespace, job_id).get("status", {}) for job_id in ids]
        told = [s.get("message", "") for s in statuses if s.get("phase") == "Pending"]
        return [message for message in told if "Waiting for its turn" in message] or None

    told = wait_for(places, "a place in words", 120, every=0.05)
    assert all("maxConcurrent is 1" in place for place in told)
    for job_id in ids:
        assert api.finished(job_id, 600)["status"] == "completed"
    spans = sorted(
        (status["startTime"], status["completionTime"])
        for status in (read_export(namespace, job_id)["status"] for job_id in ids)
    )
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))
    events = kubectl("-n", namespace, "describe", "bex", *ids)
    assert "Queued" in events


def test_a_queue_name_reaches_the_job(
    installation: Installation, connection: dict[str, str]
) -> None:
    make_target(installation.namespace, "kueued", connection, queueName="team-a")
    make_export(installation, "kueued", projectId="kueued")
    succeeded(installation, "kueued")
    labels = get("-n", installation.namespace, "job", "bex-kueued")["metadata"]["labels"]
    assert labels["kueue.x-k8s.io/queue-name"] == "team-a"


@contextmanager
def without_operator(
    installation: Installation, name: str, connection: dict[str, str]
) -> Iterator[None]:
    """The export `name` of a project of its own, which begins as soon as no operator is left."""
    namespace, project_id = installation.namespace, f"{name}-project"
    operator = f"deploy/{installation.release.name}-operator"
    make_target(namespace, project_id, connection)
    # A pod waits for its Secret, so the operator is gone before the runner starts.
    kubectl("-n", namespace, "delete", "secret", target_name(project_id))
    make_export(installation, name, projectId=project_id)
    wait_for(
        lambda: read_export(namespace, name).get("status", {}).get("reason") == "SecretInvalid",
        "the pod", 240,
    )  # fmt: skip
    replicas = get("-n", namespace, operator)["spec"]["replicas"]
    kubectl("-n", namespace, "scale", operator, "--replicas=0")
    try:
        kubectl(
            "-n", namespace, "wait", "--for=delete", "pod", "--timeout=240s",
            "-l", "app.kubernetes.io/component=operator",
        )  # fmt: skip
        make_target(namespace, project_id, connection)
        yield
    finally:
        kubectl("-n", namespace, "scale", operator, f"--replicas={replicas}")


def wait_for_job(installation: Installation, name: str, condition: str) -> None:
    kubectl(
        "-n", installation.namespace, "wait", f"--for=condition={condition}", f"job/bex-{name}",
        "--timeout=280s",
    )  # fmt: skip


def test_a_whole_file_is_a_success_though_nobody_saw_the_job_end(
    installation: Installation, connection: dict[str, str]
) -> None:
    """The operator was away while the runner finished and its Job was cleared away."""
    name = "unseen"
    with without_operator(installation, name, connection):
        wait_for_job(installation, name, "Complete")
        kubectl(
            "-n", installation.namespace, "delete", "job", f"bex-{name}", "--cascade=foreground"
        )
    export = succeeded(installation, name)
    artifact = export["status"]["artifact"]
    assert installation.volume.sha256(artifact["path"]) == artifact["sha256"]
    manifest = json.loads(installation.volume.text(f"{artifact['path']}.json"))
    assert manifest["sha256"] == artifact["sha256"]


def test_a_failure_is_told_though_nobody_saw_the_pod_end(
    installation: Installation, connection: dict[str, str]
) -> None:
    """The operator was away while the runner failed for good and its pod was deleted."""
    namespace, name = installation.namespace, "unseen-failure"
    with without_operator(installation, name, {**connection, "password": "not-the-password"}):
        wait_for_job(installation, name, "Failed")
        label = f"batch.kubernetes.io/job-name=bex-{name}"
        kubectl("-n", namespace, "delete", "pods", "-l", label)
    kubectl("-n", namespace, "wait", "--for=condition=Failed", f"bex/{name}", "--timeout=280s")
    status = read_export(namespace, name)["status"]
    assert status["reason"] == "AuthenticationFailed"
    words = (
        rf"Pod bex-{name}-\w+ failed for good with exit code 23, which means AuthenticationFailed"
    )
    assert re.match(words, status["message"])


def metrics_of(installation: Installation, pod: str) -> str:
    path = f"/api/v1/namespaces/{installation.namespace}/pods/{pod}:8081/proxy/metrics"
    return get_raw(path)


def test_one_operator_leads_and_counts(installation: Installation, api: Api) -> None:
    job = api.finished(api.export(project_id=SMALL).body["data"]["job_id"])
    assert job["status"] == "completed"

    def look() -> tuple[list[str], list[str]] | None:
        pods = kubectl(
            "-n", installation.namespace, "get", "pods", "-o", "jsonpath={.items[*].metadata.name}",
            "-l", "app.kubernetes.io/component=operator",
        ).split()  # fmt: skip
        try:
            told = [metrics_of(installation, pod) for pod in pods]
        except ToolError:
            return None
        leading = [text for text in told if "backupexport_operator_leader 1.0" in text]
        return (told, leading) if (len(told), len(leading)) == (2, 1) else None

    # Another test's may still be on their way, and the Lease is empty for moments.
    told, _ = wait_for(look, "two operators of which one leads", 120)
    # By whoever led then.
    counted = f'backupexport_exports_finished_total{{phase="Succeeded",project="{SMALL}"'
    made = 'backupexport_operator_kubernetes_requests_total{resource="jobs",status="201"'
    assert any(counted in text and made in text for text in told)
