"""Two callers with different projects on a real cluster."""

import secrets
import time
import uuid
from typing import Any

import pytest
from held_project import HeldProject
from installation import SMALL, Installation
from playground.rest import Answer, Api
from playground.targets import read_export
from playground.tools import kubectl

pytestmark = pytest.mark.cluster

_ROUNDS = 60
_SCRAPE = (
    "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8080/metrics').read().decode())"
)


@pytest.fixture
def owner(installation: Installation) -> Api:
    return installation.caller(SMALL)


@pytest.fixture
def stranger(installation: Installation, held_project: HeldProject) -> Api:
    return installation.caller(held_project.name)


def exported(caller: Api, project_id: str) -> str:
    answer = caller.export(project_id=project_id)
    assert answer.status == 202, answer.body
    job_id: str = answer.body["data"]["job_id"]
    return job_id


def told(answer: Answer) -> dict[str, Any]:
    """An error's body but for the request id."""
    body: dict[str, Any] = answer.body
    return {name: value for name, value in body.items() if name != "request_id"}


def listed(caller: Api, query: str = "") -> tuple[set[str], Any]:
    answer = caller.call("GET", f"/api/jobs?{query}")
    assert answer.status == 200, answer.body
    return {job["job_id"] for job in answer.body["data"]}, answer.body["next_cursor"]


def test_a_stranger_finds_lists_and_cancels_nothing(
    installation: Installation, owner: Api, stranger: Api
) -> None:
    job_id = exported(owner, SMALL)
    assert owner.finished(job_id)["status"] == "completed"
    before = read_export(installation.namespace, job_id)
    unknown = str(uuid.uuid4())
    for method, below in (("GET", ""), ("POST", "/cancel")):
        hidden = stranger.call(method, f"/api/jobs/{job_id}{below}")
        missing = stranger.call(method, f"/api/jobs/{unknown}{below}")
        assert hidden.status == missing.status == 404
        assert told(hidden) == told(missing)
    after = read_export(installation.namespace, job_id)
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    assert job_id in listed(owner)[0]
    for query in ("limit=200", f"project_id={SMALL}", "status=completed&limit=200"):
        assert job_id not in listed(stranger, query)[0]


def test_another_s_cursor_leads_to_one_s_own_jobs(
    owner: Api, stranger: Api, held_project: HeldProject
) -> None:
    hidden = {exported(owner, SMALL) for _ in range(3)}
    with held_project.locked():
        own = exported(stranger, held_project.name)
        for job_id in hidden:
            assert owner.finished(job_id)["status"] == "completed"
        _, cursor = listed(owner, "limit=1")
        assert cursor
        assert not listed(stranger, f"limit=200&cursor={cursor}")[0] & hidden
        assert stranger.call("POST", f"/api/jobs/{own}/cancel").status == 202
        assert stranger.finished(own)["status"] == "cancelled"


def test_a_forbidden_project_is_403_whether_it_exists_or_not(stranger: Api) -> None:
    there = stranger.export(project_id=SMALL)
    nowhere = stranger.export(project_id=f"nobody-{secrets.token_hex(3)}")
    assert (there.status, nowhere.status) == (403, 403)
    assert told(there) == told(nowhere)


def test_metrics_name_no_project_and_no_job(installation: Installation, owner: Api) -> None:
    job_id = exported(owner, SMALL)
    owner.finished(job_id)
    namespace = installation.namespace
    component = "app.kubernetes.io/component=api"
    pods = kubectl("-n", namespace, "get", "pods", "-l", component, "-o", "name").split()
    assert pods
    for pod in pods:
        text = kubectl("-n", namespace, "exec", pod, "--", "python", "-c", _SCRAPE)
        assert "backupexport" in text
        assert job_id not in text
        assert f'"{SMALL}"' not in text


def test_a_hidden_job_takes_as_long_as_a_missing_one(owner: Api, stranger: Api) -> None:
    """A look at the times; that the work is the same is tested where calls can be counted."""
    job_id = exported(owner, SMALL)
    owner.finished(job_id)
    seconds: dict[str, list[float]] = {"hidden": [], "missing": []}
    for _ in range(_ROUNDS):
        for kind, asked in (("hidden", job_id), ("missing", str(uuid.uuid4()))):
            started = time.perf_counter()
            assert stranger.call("GET", f"/api/jobs/{asked}").status == 404
            seconds[kind].append(time.perf_counter() - started)
    # The quickest of each: whatever else the machine does only adds to them.
    hidden, missing = (min(seconds[kind]) for kind in ("hidden", "missing"))
    print(f"404 for a hidden job: {hidden * 1e3:.1f} ms, for a missing one: {missing * 1e3:.1f} ms")  # noqa: T201 - for a person to judge
    assert 1 / 3 < hidden / missing < 3
