"""Downloads from real pods: whole, in parts, by link, and what must not be had."""

import base64
import hashlib
import http.client
import json
import random
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from email.message import Message
from typing import Any, get_args
from urllib.parse import parse_qs, urlsplit

import api_pods
import pytest
from backupexport_api.downloads.links import EXPIRES, LINK, MAKER, Link, LinkedJob, link_query
from backupexport_contract.fields import Format
from held_project import HeldProject
from installation import LARGE, SMALL, Installation
from playground.postgres import CONTAINER_SECURITY, POD_SECURITY
from playground.rest import Api
from playground.targets import export_manifest
from playground.tools import apply, images, kubectl, wait_for

pytestmark = pytest.mark.cluster

_CHUNK = 64 * 1024


@dataclass(frozen=True)
class Got:
    """An answer whose body may be large."""

    status: int
    headers: Message
    size: int
    sha256: str
    start: bytes
    """The first bytes, of a small body all."""


def fetch(
    base: str,
    path: str,
    token: str | None = None,
    headers: dict[str, str] | None = None,
    *,
    method: str = "GET",
    stop_after: int | None = None,
    digest: Any = None,
) -> Got:
    """One request on a connection of its own, cut once `stop_after` bytes have come."""
    connection = http.client.HTTPConnection(urlsplit(base).netloc, timeout=60)
    sha = hashlib.sha256() if digest is None else digest
    size, start = 0, b""
    try:
        sent = {**(headers or {})}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        connection.request(method, path, headers=sent)
        answer = connection.getresponse()
        while stop_after is None or size < stop_after:
            room = _CHUNK if stop_after is None else min(_CHUNK, stop_after - size)
            chunk = answer.read(room)
            if not chunk:
                break
            sha.update(chunk)
            size += len(chunk)
            start += chunk[: 4096 - len(start)]
        return Got(answer.status, answer.headers, size, sha.hexdigest(), start)
    finally:
        connection.close()


@dataclass(frozen=True)
class Finished:
    """A completed job of the large database."""

    url: str
    token: str
    job: dict[str, Any]

    @property
    def path(self) -> str:
        return f"/api/jobs/{self.job['job_id']}/download"

    @property
    def artifact(self) -> dict[str, Any]:
        found: dict[str, Any] = self.job["artifact"]
        return found

    def get(self, **headers: str) -> Got:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return fetch(self.url, self.path, self.token, sent)


@pytest.fixture(scope="module")
def finished(installation: Installation) -> Finished:
    api = installation.caller()
    job_id = api.export(project_id=LARGE).body["data"]["job_id"]
    job = api.finished(job_id, 600)
    assert job["status"] == "completed"
    return Finished(installation.url, installation.token(LARGE), job)


@pytest.fixture(scope="module")
def replicas(installation: Installation) -> Iterator[list[str]]:
    """The URL of each of the api's pods."""
    first, second = api_pods.names(installation.namespace)[:2]
    with (
        api_pods.forwarded(installation.namespace, first) as one,
        api_pods.forwarded(installation.namespace, second) as other,
    ):
        yield [one, other]


@pytest.mark.parametrize("dump_format", get_args(Format))
def test_a_file_of_each_format_is_downloaded_by_token_and_by_link(
    installation: Installation, dump_format: str
) -> None:
    api = installation.caller(SMALL)
    job = api.finished(api.export(project_id=SMALL, format=dump_format).body["data"]["job_id"])
    one = Finished(installation.url, installation.token(SMALL), job)
    link = api.call("POST", f"/api/jobs/{job['job_id']}/link").body["data"]["url"]
    for got in (one.get(), fetch(one.url, urlsplit(link)._replace(scheme="", netloc="").geturl())):
        assert (got.status, got.sha256) == (200, one.artifact["sha256"])


def test_the_whole_file(installation: Installation, finished: Finished) -> None:
    got = finished.get()
    assert got.status == 200
    assert got.size == finished.artifact["size_bytes"]
    assert got.sha256 == finished.artifact["sha256"]
    assert got.sha256 == installation.volume.sha256(finished.artifact["path"])
    assert got.headers["Content-Type"] == "application/zstd"
    assert got.headers["Content-Encoding"] is None
    assert got.headers["ETag"] == f'"{got.sha256}"'
    name = finished.artifact["path"].rpartition("/")[2]
    assert got.headers["Content-Disposition"] == f'attachment; filename="{name}"'
    head = fetch(finished.url, finished.path, finished.token, method="HEAD")
    assert (head.status, head.size) == (200, 0)
    assert head.headers["Content-Length"] == str(finished.artifact["size_bytes"])


@pytest.mark.parametrize("attempt", range(3))
def test_cut_at_a_random_byte_it_goes_on_at_another_replica(
    finished: Finished, replicas: list[str], attempt: int
) -> None:
    size = finished.artifact["size_bytes"]
    cut = random.Random(attempt).randrange(1, size)
    sha = hashlib.sha256()
    begun = fetch(replicas[0], finished.path, finished.token, stop_after=cut, digest=sha)
    assert (begun.status, begun.size) == (200, cut)
    go_on = {"Range": f"bytes={cut}-", "If-Range": begun.headers["ETag"]}
    rest = fetch(replicas[1], finished.path, finished.token, go_on, digest=sha)
    assert (rest.status, rest.size) == (206, size - cut)
    assert rest.sha256 == finished.artifact["sha256"]


def test_ranges(finished: Finished) -> None:
    size = finished.artifact["size_bytes"]
    first = finished.get(Range="bytes=0-99")
    assert (first.status, first.headers["Content-Range"]) == (206, f"bytes 0-99/{size}")
    suffix = finished.get(Range="bytes=-7")
    assert (suffix.status, suffix.size) == (206, 7)
    several = finished.get(Range="bytes=0-99,200-299")
    assert several.status == 206
    assert several.headers.get_content_type() == "multipart/byteranges"
    assert int(several.headers["Content-Length"]) == several.size
    assert first.start in several.start
    beyond = finished.get(Range=f"bytes={size}-")
    assert (beyond.status, beyond.headers["Content-Range"]) == (416, f"bytes */{size}")
    malformed = finished.get(Range="bytes=9-1")
    assert (malformed.status, malformed.sha256) == (200, finished.artifact["sha256"])
    other = finished.get(Range="bytes=9-", If_Range='"another"')
    assert (other.status, other.sha256) == (200, finished.artifact["sha256"])
    same = finished.get(If_None_Match=f'"{finished.artifact["sha256"]}"')
    assert (same.status, same.size) == (304, 0)


def test_a_link_of_one_replica_opens_the_file_at_the_other(
    installation: Installation, finished: Finished, replicas: list[str]
) -> None:
    api = installation.caller(LARGE)
    job_id = finished.job["job_id"]
    made = api.call("POST", f"/api/jobs/{job_id}/link", {"lifetime_seconds": 600})
    assert made.status == 201
    link = made.body["data"]["url"]
    for replica in replicas:
        got = fetch(replica, link)
        assert (got.status, got.sha256) == (200, finished.artifact["sha256"])
    another = api.export(project_id=LARGE).body["data"]["job_id"]
    refused = {
        "a changed byte": link[:-1] + ("A" if link[-1] != "A" else "B"),
        "another job": link.replace(job_id, another),
        "no job": link.replace(job_id, "0b7cbb51-7c4f-4f52-9b0e-3f6a2b1c9d8e"),
    }
    answers = {name: _told(fetch(replicas[0], url)) for name, url in refused.items()}
    foreign = installation.caller(SMALL).call("POST", f"/api/jobs/{job_id}/link")
    assert (foreign.status, foreign.body["code"]) == (404, "job_not_found")
    said = _said(link)
    assert _signed(installation, job_id, said) == link, "signed as the api signs"
    past = replace(said, expires_s=int(time.time()) - 1)
    expired = _signed(installation, job_id, past)
    answers["expired"] = _told(fetch(replicas[0], expired))
    assert set(answers.values()) == {answers["expired"]}
    assert answers["expired"][0] == 403
    pods = ("-l", "app.kubernetes.io/component=api", "--tail=-1")
    assert link.rpartition("=")[2] not in kubectl("-n", installation.namespace, "logs", *pods)


def _said(url: str) -> Link:
    query = parse_qs(urlsplit(url).query)
    return Link(query[LINK][0], query[MAKER][0], int(query[EXPIRES][0]))


def _signed(installation: Installation, job_id: str, link: Link) -> str:
    """What the api makes, or would have made, of a link to the file of a job with no other."""
    namespace, name = installation.namespace, installation.release.name
    secret = kubectl(
        "-n", namespace, "get", "secret", f"{name}-links", "-o", "jsonpath={.data.*}"
    )  # fmt: skip
    uid = kubectl("-n", namespace, "get", "bex", job_id, "-o", "jsonpath={.metadata.uid}")
    query = link_query(base64.b64decode(secret).decode(), LinkedJob(job_id, uid, ""), link)
    return f"/api/jobs/{job_id}/download?{query}"


def _told(got: Got) -> tuple[Any, ...]:
    """What an answer tells, but the request's own id and the time."""
    own = got.headers["X-Request-ID"].encode()
    headers = {k: v for k, v in got.headers.items() if k.lower() not in ("date", "x-request-id")}
    return got.status, frozenset(headers.items()), got.start.replace(own, b"")


def test_links_that_are_taken_back_end_on_every_replica(
    installation: Installation, replicas: list[str]
) -> None:
    token = installation.token(SMALL)
    here, there = (Api(url, token) for url in replicas[:2])
    job_id = here.export(project_id=SMALL).body["data"]["job_id"]
    size = here.finished(job_id)["artifact"]["size_bytes"]
    path = f"/api/jobs/{job_id}"
    made = [here.call("POST", f"{path}/link").body["data"] for _ in range(3)]
    one, another, last = (link["url"] for link in made)
    assert {fetch(url, link).size for url in replicas for link in (one, another)} == {size}

    assert here.call("DELETE", f"{path}/links/{made[0]['link_id']}").status == 204
    assert fetch(replicas[0], one).status == 403
    wait_for(lambda: fetch(replicas[1], one).status == 403, "the other replica to know", 60)
    assert [fetch(url, another).status for url in replicas] == [200, 200]

    assert there.call("DELETE", f"{path}/links").status == 204
    assert [fetch(replicas[1], link).status for link in (another, last)] == [403, 403]
    wait_for(lambda: fetch(replicas[0], last).status == 403, "the other replica to know", 60)
    anew = there.call("POST", f"{path}/link").body["data"]["url"]
    assert fetch(replicas[1], anew).status == 200

    # Whatever the log's level, every step is in the trail, of both replicas.
    def trail() -> list[dict[str, Any]]:
        return [line for line in _trail(installation) if line["job"] == job_id]

    def downloads(action: str) -> int:
        return len([line for line in trail() if line["action"] == f"download_{action}"])

    wait_for(lambda: downloads("start") == downloads("end"), "all downloads to be over", 60)
    told = trail()
    made_by = {line["subject"] for line in told if line["action"] in ("create", "link")}
    assert len(made_by) == 1
    assert [line["outcome"] for line in told if line["action"] == "create"] == ["accepted"]
    assert [line["link"] for line in told if line["action"] == "take_back_links"] == [
        made[0]["link_id"],
        None,
    ]
    refused = {line["outcome"] for line in told if line["action"] == "refusal"}
    assert refused == {"link_refused"}
    ends = [line for line in told if line["action"] == "download_end"]
    assert {(line["outcome"], line["bytes"]) for line in ends} == {("complete", size)}
    assert len({line["link_maker"] for line in ends}) == 1
    text = json.dumps(told)
    for secret in (token.rpartition(".")[2], *(link.rpartition("=")[2] for link in (one, anew))):
        assert secret not in text


def _trail(installation: Installation) -> list[dict[str, Any]]:
    """The audit trail of all replicas, in order."""
    pods = ("-l", "app.kubernetes.io/component=api", "--tail=-1")
    lines = kubectl("-n", installation.namespace, "logs", *pods).splitlines()
    told = [json.loads(line) for line in lines if '"backupexport.audit"' in line]
    return sorted(told, key=lambda line: str(line["time"]))


def test_another_project_s_file_is_no_file(installation: Installation, finished: Finished) -> None:
    token = installation.token(SMALL)
    hidden = fetch(finished.url, finished.path, token)
    unknown = fetch(finished.url, "/api/jobs/0b7cbb51-7c4f-4f52-9b0e-3f6a2b1c9d8e/download", token)
    assert hidden.status == unknown.status == 404
    assert fetch(finished.url, finished.path).status == 401


def test_what_is_not_finished_conflicts(
    installation: Installation, held_project: HeldProject
) -> None:
    api = installation.caller()
    with held_project.locked():
        job_id = api.export(project_id=held_project.name).body["data"]["job_id"]
        held_project.wait_until_blocked(job_id)
        answer = api.call("GET", f"/api/jobs/{job_id}/download")
        assert (answer.status, answer.body["code"]) == (409, "job_not_completed")
        assert api.call("POST", f"/api/jobs/{job_id}/link").status == 409
        assert api.call("POST", f"/api/jobs/{job_id}/cancel").status == 202
        assert api.finished(job_id)["status"] == "cancelled"
    assert api.call("GET", f"/api/jobs/{job_id}/download").status == 409


def test_when_its_retention_is_over_it_is_gone(installation: Installation) -> None:
    name = f"retained-{secrets.token_hex(3)}"
    spec = {"projectId": SMALL, "retentionSeconds": 20}
    apply(export_manifest(installation.namespace, name, **spec))
    uid = kubectl(
        "-n", installation.namespace, "get", "bex", name, "-o", "jsonpath={.metadata.uid}"
    )
    token = installation.token()

    def status() -> int:
        return fetch(installation.url, f"/api/jobs/{uid}/download", token).status

    assert wait_for(lambda: (found := status()) != 409 and found, "a file to fetch", 240) == 200
    seen = []

    def is_gone() -> bool:
        seen.append(status())
        return seen[-1] == 404

    wait_for(is_gone, "the export's removal", 300)
    # Never an error of ours, and never half of it.
    assert set(seen) <= {200, 410, 404}


def test_nothing_but_the_file_itself_is_sent(installation: Installation) -> None:
    """The project's own directory in the hands of somebody who means harm."""
    api = installation.caller()
    job_id = api.export(project_id=SMALL).body["data"]["job_id"]
    path = api.finished(job_id)["artifact"]["path"]
    token = installation.token()

    def status() -> int:
        return fetch(installation.url, f"/api/jobs/{job_id}/download", token).status

    with _writer(installation) as write:
        assert status() == 200
        for swap in (
            f"ln -s /etc/passwd {path}",
            f"ln -s ../{LARGE} {path}",
            f"mkfifo {path}",
            f"mkdir {path}",
            f"ln {path}.kept {path}",
            f"head -c 10 {path}.kept > {path}",
            "true",
        ):
            write(f"mv {path} {path}.kept && {swap}")
            assert status() == 410, swap
            write(f"rm -rf {path} && mv {path}.kept {path}")
            assert status() == 200, swap
        write(f"mv {SMALL} {SMALL}.kept && ln -s {SMALL}.kept {SMALL}")
        assert status() == 410
        write(f"rm {SMALL} && mv {SMALL}.kept {SMALL}")
        assert status() == 200


@contextmanager
def _writer(installation: Installation) -> Iterator[Callable[[str], str]]:
    """What runs a command in a pod that may write to the whole volume."""
    namespace, pod = installation.namespace, f"writer-{secrets.token_hex(3)}"
    claim = f"{installation.release.name}-exports"
    container = {
        "name": "writer",
        "image": images()[installation.server.image],
        "command": ["sleep", "infinity"],
        "workingDir": "/exports",
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": [{"name": "exports", "mountPath": "/exports"}],
    }
    user = {"runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532}
    apply(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": pod, "namespace": namespace},
            "spec": {
                "automountServiceAccountToken": False,
                "terminationGracePeriodSeconds": 0,
                "securityContext": {**POD_SECURITY, **user},
                "containers": [container],
                "volumes": [{"name": "exports", "persistentVolumeClaim": {"claimName": claim}}],
            },
        }
    )
    try:
        kubectl("-n", namespace, "wait", "--for=condition=Ready", f"pod/{pod}", "--timeout=240s")
        yield lambda command: kubectl("-n", namespace, "exec", pod, "--", "bash", "-ec", command)
    finally:
        kubectl("-n", namespace, "delete", "pod", pod, "--wait=false")
