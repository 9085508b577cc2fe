"""A rolling restart under load loses no request."""

import json
import sys

import api_pods
import pytest
import steady_load
from installation import SMALL, Installation
from playground.rest import Api
from playground.tools import get, kubectl, wait_for
from pod_program import in_pod, output_of

pytestmark = pytest.mark.cluster

WORKERS = 8
# A worker keeps within its limit of 600 reads a minute.
PAUSE = 0.12


def test_no_request_is_lost(
    installation: Installation, api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    namespace, deployment = installation.namespace, f"deploy/{installation.release.name}-api"
    job_id = api.export(project_id=SMALL).body["data"]["job_id"]
    api.finished(job_id)
    old = set(api_pods.names(namespace))
    tokens = [installation.token() for _ in range(WORKERS)]
    arguments = (f"{installation.release.name}-api", "80", f"/api/jobs/{job_id}", str(PAUSE))
    with in_pod(namespace, steady_load, *arguments, *tokens) as load:
        kubectl("-n", namespace, "rollout", "restart", deployment)
        kubectl("-n", namespace, "rollout", "status", deployment, "--timeout=280s")

        def old_are_gone() -> bool:
            pods = get("-n", namespace, "pods", "-l", "app.kubernetes.io/component=api")["items"]
            return old.isdisjoint(pod["metadata"]["name"] for pod in pods)

        wait_for(old_are_gone, "the end of the old pods", 240)
        kubectl("-n", namespace, "exec", load, "--", "touch", str(steady_load.STOP))
        seen = json.loads(output_of(namespace, load, 240))
    # The tests' own forward has lost its pod, too.
    wait_for(lambda: _answers(installation), "the forward", 240)
    with capsys.disabled():
        sys.stdout.write(f"\na rolling restart under load: {seen}\n")
    assert set(seen["answers"]) == {"200"}, seen
    assert seen["answers"]["200"] > 100
    # Every worker has had to change its pod at least once.
    assert seen["connections"] >= 2 * WORKERS


def _answers(installation: Installation) -> bool:
    try:
        return installation.everything.call("GET", "/readyz", timeout=10).status == 200
    except OSError:
        return False
