"""POST an export, watch it, and restore what it made."""

import json
import subprocess
from typing import Any

import pytest
from installation import LARGE, SMALL, Installation
from playground import demo_database
from playground.rest import FINISHED, Api
from playground.targets import read_export
from playground.tools import kubectl, wait_for

pytestmark = pytest.mark.cluster


def follow(api: Api, job_id: str) -> list[dict[str, Any]]:
    """Every distinct answer of GET until the job ends."""
    seen: list[dict[str, Any]] = []

    def look() -> bool:
        job = api.job(job_id)
        if not seen or seen[-1] != job:
            seen.append(job)
        return job["status"] in FINISHED

    wait_for(look, f"the end of job {job_id}", 900, every=0.1)
    return seen


def accepted(api: Api, **fields: Any) -> str:
    answer = api.export(**fields)
    assert answer.status == 202, answer.body
    job_id: str = answer.body["data"]["job_id"]
    assert answer.headers["location"] == f"/api/jobs/{job_id}"
    return job_id


def assert_file_is_as_recorded(installation: Installation, artifact: dict[str, Any]) -> None:
    volume, path = installation.volume, artifact["path"]
    assert volume.size(path) == artifact["size_bytes"]
    assert volume.sha256(path) == artifact["sha256"]
    manifest = json.loads(volume.text(f"{path}.json"))
    assert {key: manifest[key] for key in artifact} == artifact


@pytest.mark.parametrize("dump_format", ["sql", "tar"])
def test_an_export_of_a_real_database_restores(
    installation: Installation, api: Api, dump_format: str
) -> None:
    job_id = accepted(api, project_id=LARGE, format=dump_format, storage_path="before/migration")
    seen = follow(api, job_id)

    statuses = list(dict.fromkeys(job["status"] for job in seen))
    assert statuses in (["pending", "running", "completed"], ["running", "completed"])
    percents = [job["progress"]["percent"] for job in seen if job["progress"]]
    assert percents == sorted(percents)
    assert len(set(percents) - {100}) >= 2, "progress did not move"
    last = seen[-1]
    assert last["status"] == "completed"
    assert last["error"] is None
    assert last["progress"]["percent"] == 100
    assert last["artifact"]["path"].startswith(f"{LARGE}/before/migration/")
    assert_file_is_as_recorded(installation, last["artifact"])

    database = f"restored_{dump_format}"
    installation.volume.restore(last["artifact"]["path"], database)
    compared = subprocess.run(
        demo_database.comparison(installation.server, "large", database),
        capture_output=True,
        text=True,
        check=False,
    )
    assert compared.returncode == 0, compared.stdout + compared.stderr
    installation.server.psql(f"DROP DATABASE {database}")

    assert_kubectl_tells_the_same(installation, job_id, last)


def assert_kubectl_tells_the_same(
    installation: Installation, job_id: str, job: dict[str, Any]
) -> None:
    namespace = installation.namespace
    row = kubectl("-n", namespace, "get", "bex", job_id, "-o", "wide", "--no-headers").split()
    assert row[1:5] == [LARGE, job["format"], "Succeeded", "100%"]
    assert job["artifact"]["path"] in row
    described = kubectl("-n", namespace, "describe", "backupexport", job_id)
    events = described[described.index("Events:") :]
    for reason in ("Accepted", "Started", "Completed"):
        assert reason in events
    status = read_export(namespace, job_id)["status"]
    assert status["attempts"] == 1
    told = {each["type"]: each["status"] for each in status["conditions"]}
    assert told == {
        "Ready": "True", "Complete": "True", "Failed": "False", "Cancelled": "False",
        "Accepted": "True", "ServerVerified": "False",
    }  # fmt: skip
    for condition in ("Ready", "Complete"):
        wait = ("wait", f"--for=condition={condition}", f"bex/{job_id}", "--timeout=60s")
        kubectl("-n", namespace, *wait)


@pytest.mark.parametrize(
    ("fields", "end"),
    [
        ({"compress": False}, ".sql"),
        ({"compression": "gzip"}, ".sql.gz"),
        ({"format": "tar", "compress": False}, ".tar"),
        ({"format": "tar", "compression": "gzip"}, ".tar.gz"),
    ],
)
def test_every_format_and_compression_restores(
    installation: Installation, api: Api, fields: dict[str, Any], end: str
) -> None:
    job = api.finished(accepted(api, project_id=SMALL, **fields))
    assert job["status"] == "completed", job["error"]
    artifact = job["artifact"]
    assert artifact["path"].endswith(f"-{job['job_id']}{end}")
    assert_file_is_as_recorded(installation, artifact)
    database = "restored_small"
    installation.volume.restore(artifact["path"], database)
    assert installation.server.psql("SELECT count(*), sum(id) FROM items", database) == (
        "1000|500500"
    )
    installation.server.psql(f"DROP DATABASE {database}")


def test_the_answer_comes_before_the_job_and_nothing_accepted_is_lost(
    installation: Installation, api: Api
) -> None:
    namespace, deployment = installation.namespace, f"deploy/{installation.release.name}-operator"
    kubectl("-n", namespace, "scale", deployment, "--replicas=0")
    wait_for(lambda: not _operator_pods(installation), "the operator's end", 240)
    job_id = accepted(api, project_id=SMALL)
    assert api.job(job_id)["status"] == "pending"
    assert f"bex-{job_id}" not in kubectl("-n", namespace, "get", "jobs", "-o", "name")
    kubectl("-n", namespace, "scale", deployment, "--replicas=2")
    assert api.finished(job_id, 400)["status"] == "completed"


def test_an_operator_killed_in_the_middle_finds_its_export_again(
    installation: Installation, api: Api
) -> None:
    job_id = accepted(api, project_id=LARGE)
    wait_for(lambda: api.job(job_id)["status"] == "running", "the start", 240, every=0.05)
    for pod in _operator_pods(installation):
        kubectl("-n", installation.namespace, "delete", pod, "--grace-period=0", "--force")
    job = api.finished(job_id, 600)
    assert job["status"] == "completed"
    assert read_export(installation.namespace, job_id)["status"]["attempts"] == 1


def _operator_pods(installation: Installation) -> list[str]:
    return kubectl(
        "-n", installation.namespace, "get", "pods", "-o", "name",
        "-l", "app.kubernetes.io/component=operator",
    ).split()  # fmt: skip


@pytest.mark.parametrize("how", ["REST", "kubectl"])
def test_cancelling_stops_the_job_and_leaves_no_file(
    installation: Installation, api: Api, how: str
) -> None:
    namespace = installation.namespace
    before = installation.volume.files(LARGE)
    job_id = accepted(api, project_id=LARGE)
    wait_for(lambda: api.job(job_id)["progress"], "progress", 240, every=0.05)
    if how == "REST":
        answer = api.call("POST", f"/api/jobs/{job_id}/cancel")
        assert (answer.status, answer.body["data"]["status"]) == (202, "running")
    else:
        patch = '{"spec":{"cancel":true}}'
        kubectl("-n", namespace, "patch", "bex", job_id, "--type=merge", "-p", patch)
    job = api.finished(job_id, 400)
    assert (job["status"], job["error"]["reason"]) == ("cancelled", "Cancelled")
    assert f"bex-{job_id}" not in kubectl("-n", namespace, "get", "jobs,pods", "-o", "name")
    assert installation.volume.files(LARGE) == before
    assert api.call("POST", f"/api/jobs/{job_id}/cancel").status == 202


def test_a_job_that_has_ended_is_not_cancelled(api: Api) -> None:
    job_id = accepted(api, project_id=SMALL)
    assert api.finished(job_id)["status"] == "completed"
    answer = api.call("POST", f"/api/jobs/{job_id}/cancel")
    assert (answer.status, answer.body["code"]) == (409, "job_finished")
    assert api.job(job_id)["status"] == "completed"
