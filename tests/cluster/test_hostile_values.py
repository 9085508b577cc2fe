"""Hostile values against the real cluster: refused by the CRD and over REST, and never executed.

A canary file lies in a neighbour's directory and one at the volume's root; every command in
the table would make one more.
"""

import json
import re
import secrets
import socket
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from backupexport_contract import names, rules
from hostile_bodies import BODIES, HostileBody
from hostile_values import CANARY, CASES, CASES_BY_HAND, MARK, ODD, SPEC_FIELDS, Hostile
from installation import SMALL, Installation
from kubernetes import client, config
from local_api import LocalApi, local_api
from playground.postgres import CONTAINER_SECURITY, POD_SECURITY
from playground.rest import Api
from playground.targets import API_VERSION, export_manifest
from playground.tools import STATE, ToolError, apply, get, images, kubectl, wait_for

pytestmark = pytest.mark.cluster

_NEIGHBOUR = "neighbour"
_PLANTED = (f"./{CANARY}", f"./{_NEIGHBOUR}/{CANARY}")

_RULES = {
    "projectId": rules.PROJECT_ID,
    "storagePath": rules.STORAGE_PATH,
    "notifyEmail": rules.EMAIL,
}
# What the API server says in its own words, because a schema has no others for it.
_TYPE = re.compile(r"must be of type (string|boolean)")
_CHOICE = re.compile(r"supported values: ")
_LENGTH = re.compile(r"may not be (more|longer) than|Too long")

_MISSING = re.compile(r"Required value")

Create = Callable[[dict[str, Any]], client.ApiException | None]


def _manifest(installation: Installation, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return export_manifest(installation.namespace, name) | {"spec": spec}


@pytest.fixture(scope="module")
def create(installation: Installation) -> Iterator[Create]:
    """Create a BackupExport as kubectl does, and keep nothing: what the API server says to it."""
    settings = client.Configuration()
    config.load_kube_config(str(STATE / "kubeconfig"), client_configuration=settings)
    with client.ApiClient(settings) as connection:
        resources = client.CustomObjectsApi(connection)

        def call(spec: dict[str, Any]) -> client.ApiException | None:
            try:
                resources.create_namespaced_custom_object(
                    group=names.GROUP,
                    version=names.VERSION,
                    namespace=installation.namespace,
                    plural=names.EXPORT_PLURAL,
                    body=_manifest(installation, "hostile", spec),
                    dry_run="All",
                    field_validation="Strict",
                )
            except client.ApiException as refused:
                return refused
            return None

        yield call


def _is_ours(field: str, message: str) -> bool:
    told = [rule.message for rule in _RULES.get(field, ())]
    told.append("compression is only allowed with compress: true")
    return any(text in message for text in told) or bool(
        any(text.search(message) for text in (_TYPE, _CHOICE, _LENGTH, _MISSING))
    )


def test_a_good_value_is_taken(create: Create) -> None:
    good = {"projectId": MARK, "storagePath": MARK, "notifyEmail": f"{MARK}@example.com"}
    assert create(good) is None
    assert create({"projectId": "p", "compress": True, "compression": "gzip"}) is None


@pytest.mark.parametrize("case", CASES_BY_HAND, ids=lambda case: case.id)
def test_the_api_server_refuses_a_hostile_value(create: Create, case: Hostile) -> None:
    refused = create(case.spec)
    assert refused is not None, "accepted"
    status = json.loads(refused.body)
    value = case.fields.get(case.field)
    # An object's own fields are as unknown as the spec's.
    if case.field not in SPEC_FIELDS or (isinstance(value, dict) and value):
        assert (refused.status, status["reason"]) == (400, "BadRequest")
        assert "unknown field" in status["message"]
        return
    assert (refused.status, status["reason"]) == (422, "Invalid"), status["message"]
    field = SPEC_FIELDS[case.field]
    causes = [cause for cause in status["details"]["causes"] if cause["field"] != "<nil>"]
    assert {cause["field"] for cause in causes} <= {f"spec.{field}", "spec"}
    assert any(_is_ours(field, cause["message"]) for cause in causes), status["message"]


_WITH_KUBECTL = (
    "project_id-then-shell-substitution", "project_id-then-newline", "project_id-then-nul",
    "project_id-option-file", "project_id-then-cyrillic-a", "storage_path-parent-in-front",
    "storage_path-absolute", "storage_path-unc", "storage_path-parent-percent-twice",
    "storage_path-then-right-to-left-override", "notify_email-bcc-crlf",
    "notify_email-quoted-local-part", "format-second-option", "compression-without-compress",
    "compress-text-false", "unknown-field-command", "project_id-as-object",
)  # fmt: skip


@pytest.mark.parametrize("name", _WITH_KUBECTL)
def test_kubectl_apply_is_refused(installation: Installation, name: str) -> None:
    wanted = {"compression-without-compress": "compression-zstd-without-compress"}.get(name, name)
    (case,) = [case for case in CASES if case.id == wanted]
    resource = f"hostile-{secrets.token_hex(3)}"
    manifest = _manifest(installation, resource, case.spec)
    with pytest.raises(ToolError) as refused:
        kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
    said = str(refused.value)
    assert "is invalid: " in said or "unknown field" in said
    assert _is_ours(SPEC_FIELDS.get(case.field, ""), said) or "unknown field" in said
    found = kubectl(
        "-n", installation.namespace, "get", "bex", resource, "--ignore-not-found", "-o", "name"
    )
    assert found == ""


# Every tenth or so of the table, the ones with a canary first.
_OVER_REST = [case for case in CASES if CANARY in json.dumps(case.fields)][::4] + list(CASES[::43])


@pytest.fixture(scope="module")
def callers(installation: Installation) -> Callable[[], Api]:
    """A caller that has asked nine times at most: the tenth may still be wanted."""
    asked = 0
    caller = installation.caller()

    def one() -> Api:
        nonlocal asked, caller
        asked += 1
        if asked % 9 == 0:
            caller = installation.caller()
        return caller

    return one


@pytest.mark.parametrize("case", _OVER_REST, ids=lambda case: case.id)
def test_rest_refuses_a_hostile_value(callers: Callable[[], Api], case: Hostile) -> None:
    answer = callers().call("POST", "/api/backup/export", case.body)
    assert answer.status == 400, answer.body
    assert answer.headers["content-type"] == "application/problem+json"
    assert [error["field"] for error in answer.body["errors"]] == [case.field]
    assert MARK not in json.dumps(answer.body)


@pytest.fixture(scope="module")
def local(
    installation: Installation, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalApi]:
    """A process of the API that bytes reach as they are: no proxy of kubectl's is between."""
    with local_api(installation.namespace, tmp_path_factory.mktemp("api")) as api:
        yield api


def _raw(api: LocalApi, head: str, *parts: bytes) -> tuple[int, bytes]:
    """Send bytes, and read the whole answer; the status and what came after it."""
    where = urllib.parse.urlsplit(api.url)
    with closing(socket.create_connection((where.hostname, where.port), timeout=60)) as peer:
        received = b""
        try:
            peer.sendall(head.replace("\n", "\r\n").encode("latin-1") + b"\r\n")
            for part in parts:
                peer.sendall(part)
        except (BrokenPipeError, ConnectionResetError):
            # It had heard enough; what it said before is still to be read.
            pass
        try:
            while chunk := peer.recv(65536):
                received += chunk
        except ConnectionResetError:
            pass
    assert received.startswith(b"HTTP/1.1 "), received
    return int(received.split(b" ", 2)[1]), received


def _head(api: LocalApi, *lines: str) -> str:
    return "".join(
        f"{line}\n"
        for line in (
            "POST /api/backup/export HTTP/1.1",
            "Host: api",
            "Connection: close",
            f"Authorization: Bearer {api.token('*')}",
            *lines,
        )
    )


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.id)
def test_rest_refuses_a_hostile_body(local: LocalApi, body: HostileBody) -> None:
    lines = [f"{name}: {value}" for name, value in body.headers.items()]
    if body.content_type is not None:
        lines.append(f"Content-Type: {body.content_type}")
    head = _head(local, *lines, f"Content-Length: {len(body.content)}")
    status, answer = _raw(local, head, body.content)
    assert status == body.status, answer
    assert b"application/problem+json" in answer
    assert MARK.encode() not in answer


_JSON = "Content-Type: application/json"
_GOOD = b'{"project_id": "%b"}' % SMALL.encode()


@pytest.mark.parametrize(
    ("lines", "parts", "status"),
    [
        ((_JSON, "Content-Length: 16385"), (), 413),
        ((_JSON, "Content-Length: 999999999999999999"), (), 413),
        ((_JSON, "Transfer-Encoding: chunked"), (b"1000\r\n" + b" " * 4096 + b"\r\n",) * 64, 413),
        ((_JSON, "Transfer-Encoding: chunked"), (b"1\r\n{\r\n" * 20000,), 413),
        ((_JSON, "Transfer-Encoding: chunked"), (b"zz\r\n",), 400),
        ((_JSON, "Content-Length: -1"), (_GOOD,), 400),
        ((_JSON, "Content-Length: 1_0"), (_GOOD,), 400),
        ((_JSON, "Content-Length: 22", "Content-Length: 1"), (_GOOD,), 400),
        (
            (_JSON, "Content-Length: 5", "Transfer-Encoding: chunked"),
            (b"%x\r\n%b\r\n0\r\n\r\n" % (len(_GOOD), _GOOD),),
            400,
        ),
        ((_JSON, "X-A: a\x00b", "Content-Length: 2"), (b"{}",), 400),
        ((_JSON, "X-A : b", "Content-Length: 2"), (b"{}",), 400),
    ],
    ids=[
        "declared-too-large", "declared-enormous", "chunked-too-large", "chunked-byte-by-byte",
        "chunk-without-a-size", "negative-length", "length-with-underscore", "two-lengths",
        "length-and-chunks", "nul-in-a-header", "space-before-the-colon",
    ],
)  # fmt: skip
def test_raw_requests_are_refused(
    local: LocalApi, lines: tuple[str, ...], parts: tuple[bytes, ...], status: int
) -> None:
    told, answer = _raw(local, _head(local, *lines), *parts)
    assert told == status, answer
    assert b"job_id" not in answer


def _walk(installation: Installation) -> dict[str, str]:
    """Every file and link of the volume, and for each its kind, size and time of last change."""
    found = installation.volume.run(
        "find", ".", "-not", "-type", "d", "-printf", r"%p\t%y %s %T@ %C@\n"
    )
    return dict(line.rsplit("\t", 1) for line in found.splitlines())


def _is_quiet(installation: Installation) -> bool:
    """Whether no Job of an earlier test is still writing."""
    jobs = get("-n", installation.namespace, "jobs")["items"]
    return not any(job["status"].get("active") for job in jobs)


@pytest.fixture(scope="module", autouse=True)
def canaries(installation: Installation) -> dict[str, str]:
    """The volume as it is before, with a canary at its root and one in a neighbour's directory."""
    wait_for(lambda: _is_quiet(installation), "the end of earlier Jobs", 300)
    pod = f"canary-{secrets.token_hex(3)}"
    script = f"mkdir -p {_NEIGHBOUR}; echo untouched > {CANARY}; cp {CANARY} {_NEIGHBOUR}/"
    user = 65532
    apply(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": pod, "namespace": installation.namespace},
            "spec": {
                "restartPolicy": "Never",
                "automountServiceAccountToken": False,
                "securityContext": {
                    **POD_SECURITY, "runAsUser": user, "runAsGroup": user, "fsGroup": user,
                },
                "containers": [
                    {
                        "name": "planter",
                        "image": images()["POSTGRES_IMAGE"],
                        "command": ["bash", "-ec", script],
                        "workingDir": "/exports",
                        "securityContext": CONTAINER_SECURITY,
                        "volumeMounts": [{"name": "exports", "mountPath": "/exports"}],
                    }
                ],
                "volumes": [
                    {
                        "name": "exports",
                        "persistentVolumeClaim": {
                            "claimName": f"{installation.release.name}-exports"
                        },
                    }
                ],
            },
        }
    )  # fmt: skip
    kubectl(
        "-n", installation.namespace, "wait", "--for=jsonpath={.status.phase}=Succeeded",
        f"pod/{pod}", "--timeout=240s",
    )  # fmt: skip
    kubectl("-n", installation.namespace, "delete", "pod", pod, "--wait=false")
    before = _walk(installation)
    assert set(_PLANTED) <= set(before)
    return before


def test_odd_values_are_harmless(
    installation: Installation, local: LocalApi, canaries: dict[str, str]
) -> None:
    """Each Job writes its file and the manifest beside it where it should, and nothing else."""
    for number, odd in enumerate(ODD):
        apply(
            {
                "apiVersion": API_VERSION,
                "kind": "ExportTarget",
                "metadata": {"name": f"odd-{number}", "namespace": installation.namespace},
                "spec": {"projectId": odd.project_id, "secretRef": {"name": f"target-{SMALL}"}},
            }
        )
    caller = local.caller("*")
    accepted = {}
    for odd in ODD:
        answer = caller.export(**odd.body)
        assert answer.status == 202, (odd.id, answer.body)
        accepted[odd.id] = answer.body["data"]["job_id"]
    jobs = {odd: caller.finished(job_id, 600) for odd, job_id in accepted.items()}
    assert {odd: job["error"] for odd, job in jobs.items() if job["status"] != "completed"} == {}
    expected = set()
    for odd in ODD:
        job = jobs[odd.id]
        path = job["artifact"]["path"]
        directory, _, _ = path.rpartition("/")
        assert directory == "/".join(filter(None, (odd.project_id, odd.storage_path)))
        assert installation.volume.sha256(f"./{path}") == job["artifact"]["sha256"]
        expected |= {f"./{path}", f"./{path}.json"}
    after = _walk(installation)
    assert set(after) - set(canaries) == expected
    assert {path: after.get(path) for path in canaries} == canaries


def test_no_canary_was_made(
    installation: Installation, local: LocalApi, canaries: dict[str, str]
) -> None:
    """After all of the above, at the end of the module."""
    after = _walk(installation)
    assert {path for path in after if CANARY in path} == set(_PLANTED)
    assert {path: after[path] for path in _PLANTED} == {path: canaries[path] for path in _PLANTED}
    assert installation.volume.text(f"./{CANARY}") == "untouched\n"
    logs = []
    for pod in _pods(installation):
        seen = kubectl(
            "-n", installation.namespace, "exec", pod, "--", "python", "-c",
            "import glob; print(glob.glob('/tmp/*canary*') + glob.glob('/exports?*'))",
        )  # fmt: skip
        assert seen.strip() == "[]"
        if "-api-" in pod:
            logs.append(kubectl("-n", installation.namespace, "logs", pod))
    assert logs
    assert not Path(f"/exports/{CANARY}").exists()
    for text in (*logs, local.log.read_text(encoding="utf-8")):
        assert MARK not in text
        assert CANARY not in text
        assert "Traceback" not in text


def _pods(installation: Installation) -> list[str]:
    """The pods of the API and of the operator."""
    return kubectl(
        "-n", installation.namespace, "get", "pods", "-o", "name",
        "-l", "app.kubernetes.io/component in (api, operator)",
    ).split()  # fmt: skip
