"""A node that stops answering: the export says so, and starts over when Kubernetes lets it.

The node is one that was never there.  The test writes its status once, as a kubelet does, and
then no more, so the node controller comes to take it for lost.
"""

import json
import secrets
from collections.abc import Iterator

import pytest
from failing_exports import Attempted, begin, begin_again
from playground.release import Release
from playground.tools import apply, get, get_raw, kubectl, make_namespace, wait_for

pytestmark = pytest.mark.cluster

NODE = f"silent-{secrets.token_hex(3)}"
# Keeps everybody else's pods away.
_MARK = {"key": "backupexport.test/silent", "effect": "NoSchedule"}


@pytest.fixture(scope="module")
def silent_node() -> Iterator[str]:
    real = get("nodes", "-l", f"kubernetes.io/hostname!={NODE}")["items"][0]
    # The volume's own node, by its label, so that the scheduler finds the volume there, too.
    labels = {"kubernetes.io/hostname": real["metadata"]["labels"]["kubernetes.io/hostname"]}
    apply(
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": NODE, "labels": labels | {"backupexport.test/silent": "yes"}},
            "spec": {"taints": [_MARK]},
        }
    )
    try:
        status = {
            "capacity": real["status"]["capacity"],
            "allocatable": real["status"]["allocatable"],
            "conditions": [
                {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": ""}
            ],
        }
        kubectl(
            "patch", "node", NODE, "--subresource=status", "--type=merge",
            "-p", json.dumps({"status": status}),
        )  # fmt: skip
        yield NODE
    finally:
        kubectl("delete", "node", NODE, "--ignore-not-found")


@pytest.fixture(scope="module")
def release() -> Iterator[Release]:
    """A release whose exports' pods go to the silent node as long as it takes any."""
    namespace = f"backupexport-test-{secrets.token_hex(3)}"
    make_namespace(namespace)
    wanted = {
        "weight": 100,
        "preference": {
            "matchExpressions": [{"key": "backupexport.test/silent", "operator": "Exists"}]
        },
    }
    template = {
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "tolerations": [{"key": _MARK["key"], "operator": "Exists"}],
            "affinity": {
                "nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [wanted]}
            },
        }
    }
    try:
        made = Release(namespace)
        made.install(
            {
                "api": {"replicas": 1, "downloads": {"enabled": False}},
                "operator": {"replicas": 1},
                "runner": {"podTemplate": template},
            }
        )
        yield made
    finally:
        kubectl("delete", "namespace", namespace, "--wait=false")


def test_an_export_on_a_silent_node_says_so_and_starts_over_elsewhere(
    release: Release,
    silent_node: str,  # after the release, for it is taken for lost within a minute
    connection: dict[str, str],
) -> None:
    assert silent_node == NODE
    namespace = release.namespace
    stuck = begin(namespace, "stuck", connection)
    pod = wait_for(lambda: _on_the_silent_node(stuck), "a pod on the silent node", 240)
    next_one = begin_again(namespace, "stuck", connection)
    waits = wait_for(lambda: next_one.status().get("message"), "a place in the queue", 120)
    assert "Waiting for its turn" in waits
    # As the node controller does with the pods of a lost node, after some minutes.
    kubectl("-n", namespace, "delete", "pod", pod, "--wait=false")
    status = stuck.told("Internal")
    assert f"Node {NODE} doesn't answer" in status["message"]
    assert status["phase"] == "Pending"
    wait_for(lambda: _metric(release, "backupexport_pods_on_silent_nodes") == 1, "the metric", 60)
    wait_for(lambda: next_one.pods() or None, "the next export's start", 240)
    # What the message says helps.
    taint = "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute"
    kubectl("taint", "node", NODE, taint)
    assert stuck.ended()["phase"] == "Succeeded"
    assert next_one.ended()["phase"] == "Succeeded"


def _on_the_silent_node(export: Attempted) -> str | None:
    there = [pod for pod in export.pods() if pod["spec"].get("nodeName") == NODE]
    return there[0]["metadata"]["name"] if there else None


def _metric(release: Release, name: str) -> float:
    service = f"services/{release.name}-operator:metrics"
    text = get_raw(f"/api/v1/namespaces/{release.namespace}/{service}/proxy/metrics")
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))
