"""Two operators: one acts, and the other goes on where it ends, however it ends."""

import json
import secrets
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from chaos_processes import kill_inside
from chaos_watch import Watch
from installation import SMALL, Installation
from playground.release import Release
from playground.rest import Api
from playground.targets import export_manifest
from playground.tools import ToolError, apply, get, kubectl, make_namespace, run, wait_for

pytestmark = pytest.mark.cluster

FINALIZER = "backupexport.dev/artifact"


def leader(namespace: str, release: Release) -> tuple[str, str]:
    """Name and uid of the pod that leads; the Lease is empty for moments."""

    def look() -> str | None:
        lease = get("-n", namespace, "lease", f"{release.name}-operator")
        return lease["spec"]["holderIdentity"] or None

    name, _, uid = wait_for(look, "a leader", 120, every=0.1).rpartition("_")
    return name, uid


def wait_until_another_leads(installation: Installation, old: str) -> None:
    wait_for(
        lambda: leader(installation.namespace, installation.release)[0] != old,
        "another leader",
        120,
        every=0.1,
    )


def jobs_of(namespace: str, job_id: str) -> list[str]:
    label = f"backupexport.dev/job-id={job_id}"
    return kubectl("-n", namespace, "get", "jobs", "-l", label, "-o", "name").split()


@pytest.fixture
def both_ready(installation: Installation) -> None:
    """Other tests take operators away."""
    deployment = f"deploy/{installation.release.name}-operator"
    kubectl("-n", installation.namespace, "scale", deployment, "--replicas=2")
    kubectl("-n", installation.namespace, "rollout", "status", deployment, "--timeout=240s")


def restarts_of(namespace: str, pod: str) -> int:
    (container,) = get("-n", namespace, "pod", pod)["status"]["containerStatuses"]
    count: int = container["restartCount"]
    return count


@pytest.mark.usefixtures("both_ready")
def test_a_leader_that_freezes_is_replaced_and_does_nothing_when_it_wakes(
    installation: Installation, api: Api
) -> None:
    # On a busy node the kubelet may miss it three times before, and make another process of it.
    assert any(was_frozen_and_woke_up(installation, api) for _ in range(3))


def was_frozen_and_woke_up(installation: Installation, api: Api) -> bool:
    """Whether it was the same process that slept and woke up."""
    name, uid = leader(installation.namespace, installation.release)
    # Another test may have killed its process.
    restarts = restarts_of(installation.namespace, name)
    if not kill_inside(uid, number=signal.SIGSTOP):
        pytest.skip("the pods' processes are not on this machine")
    try:
        job_id = api.export(project_id=SMALL).body["data"]["job_id"]
        wait_until_another_leads(installation, name)
        successor = leader(installation.namespace, installation.release)[0]
    finally:
        kill_inside(uid, number=signal.SIGCONT)

    def is_another() -> bool:
        return restarts_of(installation.namespace, name) != restarts

    log = ("-n", installation.namespace, "logs", name)
    wait_for(lambda: "leads no more" in kubectl(*log) or is_another(), "the sleeper's insight", 120)
    assert api.finished(job_id, 400)["status"] == "completed"
    assert len(jobs_of(installation.namespace, job_id)) == 1
    assert leader(installation.namespace, installation.release)[0] == successor
    return not is_another()


@pytest.mark.usefixtures("both_ready")
def test_a_leader_that_is_told_to_go_hands_over_at_once(
    installation: Installation, api: Api
) -> None:
    name, _ = leader(installation.namespace, installation.release)
    holders: list[str] = []

    def told(_: str, lease: dict[str, Any]) -> None:
        if lease["metadata"]["name"] == f"{installation.release.name}-operator":
            holders.append(lease["spec"].get("holderIdentity") or "")

    leases = f"/apis/coordination.k8s.io/v1/namespaces/{installation.namespace}/leases"
    with Watch(leases, told) as watch:
        watch.wait()
        kubectl("-n", installation.namespace, "delete", "pod", name, "--wait=false")
        job_id = api.export(project_id=SMALL).body["data"]["job_id"]
        wait_until_another_leads(installation, name)
        wait_for(lambda: _pod_of(holders[-1]) not in ("", name), "word of another leader", 60)
    # Given back, and not left to run out.
    first_of_another = next(
        number for number, holder in enumerate(holders) if _pod_of(holder) not in ("", name)
    )
    assert holders[first_of_another - 1] == ""
    assert api.finished(job_id, 400)["status"] == "completed"
    assert len(jobs_of(installation.namespace, job_id)) == 1


def _pod_of(holder: str) -> str:
    return holder.rpartition("_")[0]


@pytest.fixture
def small_release(installation: object) -> Iterator[Release]:
    """A release of its own with an export that can't be removed without an operator's help."""
    release = Release(f"backupexport-away-{secrets.token_hex(3)}")
    make_namespace(release.namespace)
    release.install(
        {
            "api": {"replicas": 1},
            "operator": {"replicas": 1},
            "storage": {"size": "1Gi", "keep": False},
        }
    )
    apply(
        export_manifest(release.namespace, "kept", projectId="nobody", artifactPolicy="Delete"),
        export_manifest(release.namespace, "other", projectId="nobody"),
    )
    patch = json.dumps({"metadata": {"finalizers": [FINALIZER]}})
    kubectl("-n", release.namespace, "patch", "bex", "kept", "--type=merge", "-p", patch)
    yield release
    kubectl("delete", "namespace", release.namespace, "--ignore-not-found", "--wait=false")


def namespace_is_gone(name: str) -> bool:
    return not kubectl("get", "namespace", name, "--ignore-not-found", "-o", "name")


def ended_jobs(namespace: str) -> list[str]:
    jobs = get("-n", namespace, "jobs")["items"]
    return [job["metadata"]["name"] for job in jobs if job["status"].get("succeeded")]


def claims(namespace: str) -> list[str]:
    return [each["metadata"]["name"] for each in get("-n", namespace, "pvc")["items"]]


def test_a_namespace_with_a_finalizer_in_it_can_be_deleted(small_release: Release) -> None:
    namespace = small_release.namespace
    kubectl("delete", "namespace", namespace, "--wait=false")
    wait_for(lambda: namespace_is_gone(namespace), "the namespace's end", 400)


def test_an_uninstall_leaves_no_export_that_can_not_be_deleted(small_release: Release) -> None:
    namespace = small_release.namespace
    # With an ended Job whose pod has the claim, and without storage.keep.
    wait_for(lambda: ended_jobs(namespace) or None, "the end of the storage's check", 300)
    run("helm", "uninstall", small_release.name, "--namespace", namespace, "--wait")
    assert claims(namespace) == []
    left = get("-n", namespace, "backupexports")["items"]
    assert {export["metadata"]["name"] for export in left} == {"kept", "other"}
    assert not [export for export in left if export["metadata"].get("finalizers")]
    kubectl("-n", namespace, "delete", "bex", "--all", "--timeout=120s")
    with pytest.raises(ToolError):
        kubectl("-n", namespace, "get", "job", f"{small_release.name}-uninstall")
