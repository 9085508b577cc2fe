"""A rolling restart under load loses no request."""

import json
import secrets
import sys
from pathlib import Path

import api_pods
import pytest
import steady_load
from installation import SMALL, Installation
from playground.rest import Api
from playground.tools import get, images, kubectl, wait_for

pytestmark = pytest.mark.cluster

WORKERS = 8
# A worker keeps within its limit of 600 reads a minute.
PAUSE = 0.12


def start_load(installation: Installation, path: str) -> str:
    """A pod inside of the cluster that reads through the Service's name."""
    name = f"load-{secrets.token_hex(3)}"
    tokens = [installation.release.token(f"{name}-{worker}") for worker in range(WORKERS)]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {
                "runAsNonRoot": True,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "load",
                    "image": images()["IMAGE"],
                    "command": [
                        "python3", "-c", Path(steady_load.__file__).read_text(encoding="utf-8"),
                        f"{installation.release.name}-api", "80", path, str(PAUSE), *tokens,
                    ],
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }
            ],
        },
    }  # fmt: skip
    kubectl("-n", installation.namespace, "apply", "-f", "-", stdin=json.dumps(pod))
    kubectl(
        "-n", installation.namespace, "wait", f"pod/{name}", "--for=condition=Ready",
        "--timeout=60s",
    )  # fmt: skip
    return name


def test_no_request_is_lost(
    installation: Installation, api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    namespace, deployment = installation.namespace, f"deploy/{installation.release.name}-api"
    job_id = api.export(project_id=SMALL).body["data"]["job_id"]
    api.finished(job_id)
    old = set(api_pods.names(namespace))
    load = start_load(installation, f"/api/jobs/{job_id}")
    try:
        kubectl("-n", namespace, "rollout", "restart", deployment)
        kubectl("-n", namespace, "rollout", "status", deployment, "--timeout=120s")

        def old_are_gone() -> bool:
            pods = get("-n", namespace, "pods", "-l", "app.kubernetes.io/component=api")["items"]
            return old.isdisjoint(pod["metadata"]["name"] for pod in pods)

        wait_for(old_are_gone, "the end of the old pods", 60)
        kubectl("-n", namespace, "exec", load, "--", "touch", str(steady_load.STOP))
        kubectl(
            "-n", namespace, "wait", f"pod/{load}", "--for=jsonpath={.status.phase}=Succeeded",
            "--timeout=60s",
        )  # fmt: skip
        seen = json.loads(kubectl("-n", namespace, "logs", load))
    finally:
        kubectl("-n", namespace, "delete", "pod", load, "--grace-period=0", "--force")
        # The tests' own forward has lost its pod, too.
        wait_for(lambda: _answers(installation), "the forward", 60)
    with capsys.disabled():
        sys.stdout.write(f"\na rolling restart under load: {seen}\n")
    assert set(seen["answers"]) == {"200"}, seen
    assert seen["answers"]["200"] > 300
    # Every worker has had to change its pod at least once.
    assert seen["connections"] >= 2 * WORKERS


def _answers(installation: Installation) -> bool:
    try:
        return installation.everything.call("GET", "/readyz", timeout=2).status == 200
    except OSError:
        return False
