"""Clients without a token hold what they can; others are served as before."""

import json
import statistics
import sys
import time

import hostile_clients
import pytest
from installation import SMALL, Installation
from playground.rest import Api
from playground.tools import get, get_raw, kubectl, wait_for
from pod_program import in_pod, output_of

pytestmark = pytest.mark.cluster

HALF_OPEN = 1000
EXPORTS = 5


def pods(installation: Installation) -> dict[str, int]:
    """How often each pod of the api was restarted."""
    label = "app.kubernetes.io/component=api"
    found = get("-n", installation.namespace, "pods", "-l", label)["items"]
    return {
        pod["metadata"]["name"]: pod["status"]["containerStatuses"][0]["restartCount"]
        for pod in found
    }


def cut(installation: Installation, reason: str) -> float:
    """How many connections all pods have cut for this reason, as the port of the metrics tells."""
    series = f'backupexport_connections_cut_total{{reason="{reason}"}} '
    path = f"/api/v1/namespaces/{installation.namespace}/pods"
    told = [get_raw(f"{path}/{pod}:8081/proxy/metrics") for pod in pods(installation)]
    return sum(
        float(line.removeprefix(series))
        for text in told
        for line in text.splitlines()
        if line.startswith(series)
    )


def test_a_caller_is_served_among_a_thousand_half_open_connections(
    installation: Installation, api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    namespace, before = installation.namespace, pods(installation)
    arguments = (f"{installation.release.name}-api", "80", str(HALF_OPEN))
    seconds, jobs = [], []
    with in_pod(namespace, hostile_clients, *arguments) as attacker:

        def at_work() -> bool:
            return hostile_clients.AT_WORK in kubectl("-n", namespace, "logs", attacker)

        wait_for(at_work, "the attack", 300)
        for _ in range(EXPORTS):
            started = time.monotonic()
            answer = api.export(project_id=SMALL)
            seconds.append(time.monotonic() - started)
            jobs.append(answer.body["data"]["job_id"])
        for job_id in jobs:
            assert api.finished(job_id, 400)["status"] == "completed"
        wait_for(lambda: cut(installation, "late_head") > HALF_OPEN / 2, "cut connections", 300)
        kubectl("-n", namespace, "exec", attacker, "--", "touch", str(hostile_clients.STOP))
        opened = json.loads(output_of(namespace, attacker, 240).partition("\n")[2])
    with capsys.disabled():
        longest = max(seconds)
        sys.stdout.write(f"\namong hostile clients ({opened}): {longest:.2f} s at most\n")
    # The median: this machine may be busy with other things.
    assert statistics.median(seconds) < 5
    # The kubelet has been answered all the time.
    assert pods(installation) == before
