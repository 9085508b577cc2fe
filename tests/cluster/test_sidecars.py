"""An injected container that never ends keeps no export from its next attempt, nor from its end."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sidecar_injector
from backupexport_contract import names
from certificate_authority import Authority
from chaos_watch import Watch
from failing_exports import Attempted, assert_explained, begin
from installation import Installation
from playground.tools import ToolError, apply, kubectl, wait_for
from pod_program import in_pod

pytestmark = pytest.mark.cluster

FAILING, WHOLE = "beside-failing", "beside-whole"
_SERVICE = "sidecar-injector"


@pytest.fixture(scope="module", autouse=True)
def injected(
    installation: Installation, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """The pods of these projects' exports get the container."""
    namespace = installation.namespace
    authority = Authority(tmp_path_factory.mktemp("authority"))
    pem = Path(authority.issue(f"{_SERVICE}.{namespace}.svc")).read_text(encoding="utf-8")
    with in_pod(namespace, sidecar_injector, pem) as pod:
        kubectl("-n", namespace, "label", "pod", pod, f"test-program={_SERVICE}")
        webhook = f"{_SERVICE}.{namespace}.example.com"
        apply(
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": _SERVICE, "namespace": namespace},
                "spec": {
                    "selector": {"test-program": _SERVICE},
                    "ports": [{"port": 443, "targetPort": sidecar_injector.PORT}],
                },
            },
            {
                "apiVersion": "admissionregistration.k8s.io/v1",
                "kind": "MutatingWebhookConfiguration",
                "metadata": {"name": webhook},
                "webhooks": [
                    {
                        "name": webhook,
                        "admissionReviewVersions": ["v1"],
                        "sideEffects": "None",
                        # A Job's controller tries again: no pod is to go without.
                        "failurePolicy": "Fail",
                        "timeoutSeconds": 30,
                        "clientConfig": {
                            "service": {"name": _SERVICE, "namespace": namespace},
                            "caBundle": base64.b64encode(authority.pem.encode()).decode(),
                        },
                        "rules": [
                            {
                                "apiGroups": [""],
                                "apiVersions": ["v1"],
                                "operations": ["CREATE"],
                                "resources": ["pods"],
                            }
                        ],
                        "namespaceSelector": {
                            "matchLabels": {"kubernetes.io/metadata.name": namespace}
                        },
                        "objectSelector": {
                            "matchExpressions": [
                                {
                                    "key": names.LABEL_PROJECT_HASH,
                                    "operator": "In",
                                    "values": [names.project_hash(it) for it in (FAILING, WHOLE)],
                                }
                            ]
                        },
                    }
                ],
            },
        )
        try:
            wait_for(lambda: _is_injected(namespace), "the webhook", 180)
            yield
        finally:
            kubectl("delete", "mutatingwebhookconfiguration", webhook)


def _is_injected(namespace: str) -> bool:
    """Whether the API server has heard of the webhook, and that one listens."""
    probe = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "sidecar-probe",
            "labels": {names.LABEL_PROJECT_HASH: names.project_hash(WHOLE)},
        },
        "spec": {
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "runner",
                    "image": "none",
                    "imagePullPolicy": "Never",
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }
            ],
        },
    }
    create = ("-n", namespace, "create", "--dry-run=server", "-o", "json", "-f", "-")
    try:
        made = kubectl(*create, stdin=json.dumps(probe))
    except ToolError:
        return False
    return len(json.loads(made)["spec"]["containers"]) == 2


@pytest.fixture(scope="module")
def failing(installation: Installation, connection: dict[str, str], injected: None) -> Attempted:
    """Nothing listens where its pods look for the server."""
    # Its first pod has to get the container, too.
    del injected
    return begin(installation.namespace, FAILING, {**connection, "host": "127.0.0.1"})


@pytest.fixture(scope="module", autouse=True)
def said(failing: Attempted) -> Iterator[list[str]]:
    """All messages of its status.

    It begins at once, so that its waits run beside the other test, and says some of them only for
    a while.
    """
    messages: list[str] = []

    def told(_: str, export: dict[str, Any]) -> None:
        if export["metadata"]["name"] == failing.name:
            messages.append(export.get("status", {}).get("message", ""))

    path = f"/apis/{names.API_VERSION}/namespaces/{failing.namespace}/{names.EXPORT_PLURAL}"
    with Watch(path, told) as watch:
        watch.wait()
        yield messages


def test_an_export_ends_beside_a_sidecar_and_takes_it_away(
    installation: Installation, connection: dict[str, str]
) -> None:
    export = begin(installation.namespace, WHOLE, connection)
    status = export.ended()
    assert (status["phase"], status["attempts"]) == ("Succeeded", 1), status
    assert export.has_event("Normal", "Completed")
    wait_for(lambda: not export.pods(), f"the end of the pods of {export.name}", 240)
    jobs = kubectl("-n", installation.namespace, "get", "jobs", "-o", "name")
    assert export.job_name not in jobs


def test_a_failed_attempt_beside_a_sidecar_is_followed_by_the_next(
    failing: Attempted, said: list[str]
) -> None:
    kept = f"container {sidecar_injector.CONTAINER} doesn't end"
    what = "the message that names the container"
    wait_for(lambda: any(kept in message for message in said), what, 400)
    status = failing.ended(600)
    assert (status["phase"], status["reason"]) == ("Failed", "ConnectionFailed"), status
    assert status["attempts"] == 2
    assert failing.job()["status"]["failed"] == 2
    assert_explained(failing, status)
