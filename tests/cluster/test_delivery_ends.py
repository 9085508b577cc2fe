"""What becomes of a delivery that is under way when its export, or its target, goes."""

import re
import secrets
from typing import Any

import pytest
from bot_api_pod import BotApiPod
from failing_exports import MODEST
from installation import Installation
from playground.targets import export_manifest, make_target, read_export
from playground.tools import apply, get, kubectl, wait_for

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def bot(installation: Installation) -> BotApiPod:
    server = BotApiPod(installation.namespace)
    server.start()
    return server


@pytest.fixture
def project() -> str:
    """A project of the test's own."""
    return f"ends-{secrets.token_hex(3)}"


def start(installation: Installation, project: str, **spec: Any) -> tuple[str, str]:
    """Name and job id of an export of the project."""
    apply(export_manifest(installation.namespace, project, projectId=project, **spec))
    return project, read_export(installation.namespace, project)["metadata"]["uid"]


def delivered(namespace: str, name: str) -> dict[str, str]:
    conditions = read_export(namespace, name).get("status", {}).get("conditions", [])
    return next((one for one in conditions if one["type"] == "Delivered"), {})


def test_an_export_that_is_deleted_is_sent_no_further(
    installation: Installation, connection: dict[str, str], bot: BotApiPod, project: str
) -> None:
    namespace = installation.namespace
    make_target(
        namespace, project, connection, resources=MODEST,
        deliveries={"telegram": bot.settings(partBytes=1024)},
    )  # fmt: skip
    # The second part's answer takes its time, longer than a busy machine takes for the deletion.
    bot.script({}, {"fail": "slow", "seconds": 90})
    name, job_id = start(installation, project, artifactPolicy="Delete")
    wait_for(lambda: len(bot.documents(job_id)) == 1, "the first part", 240)
    kubectl("-n", namespace, "delete", "backupexport", name, "--timeout=300s")
    # Neither the file nor the note of its parts, but what says that the file was there.
    (left,) = installation.volume.files(project)
    assert re.fullmatch(rf"{project}/\.[0-9TZ]+-{job_id}\.sql\.zst\.removed", left)
    jobs = get("-n", namespace, "jobs", "-l", f"backupexport.dev/project={project}")["items"]
    assert not [job for job in jobs if "deliver" in job["metadata"]["name"]]
    assert len(bot.documents(job_id)) <= 2


def test_a_file_waits_for_its_target(
    installation: Installation, connection: dict[str, str], bot: BotApiPod, project: str
) -> None:
    namespace = installation.namespace
    nowhere = bot.settings(apiUrl="http://no-such-bot.invalid")
    make_target(namespace, project, connection, resources=MODEST, deliveries={"telegram": nowhere})
    name, job_id = start(installation, project)

    def says(reason: str) -> bool:
        return delivered(namespace, name).get("reason") == reason

    wait_for(lambda: says("ConnectionFailed"), "a failed attempt", 300)
    (target,) = [
        target["metadata"]["name"]
        for target in get("-n", namespace, "exporttargets")["items"]
        if target["spec"]["projectId"] == project
    ]
    kubectl("-n", namespace, "delete", "exporttarget", target)
    wait_for(lambda: says("NotConfigured"), "a word about the target", 120)
    told = delivered(namespace, name)
    assert told["status"] == "Unknown"
    assert "ExportTarget is gone" in told["message"]
    make_target(
        namespace, project, connection, resources=MODEST, deliveries={"telegram": bot.settings()}
    )
    wait_for(lambda: says("Succeeded"), "the delivery", 300)
    assert len(bot.documents(job_id)) == 1
