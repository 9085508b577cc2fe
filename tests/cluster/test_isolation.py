"""Who may do what: in the cluster, between projects, and with the credentials."""

import json
import re
import secrets
from typing import Any

import pytest
from installation import LARGE, SMALL, Installation
from playground.rest import Api
from playground.tools import ToolError, get, kubectl

pytestmark = pytest.mark.cluster


def can_i(installation: Installation, account: str, verb: str, resource: str) -> bool:
    namespace = installation.namespace
    try:
        told = kubectl(
            "-n", namespace, "auth", "can-i", verb, resource,
            "--as", f"system:serviceaccount:{namespace}:{installation.release.name}-{account}",
        )  # fmt: skip
    except ToolError as error:
        told = str(error).splitlines()[-1]
    return told.strip() == "yes"


@pytest.mark.parametrize("account", ["operator", "api", "runner"])
@pytest.mark.parametrize("verb", ["get", "list", "watch", "create", "delete"])
def test_nobody_may_touch_secrets(installation: Installation, account: str, verb: str) -> None:
    assert not can_i(installation, account, verb, "secrets")


@pytest.mark.parametrize(
    ("account", "verb", "resource", "allowed"),
    [
        ("operator", "create", "jobs.batch", True),
        ("operator", "create", "pods", False),
        ("operator", "create", "pods/exec", False),
        # It takes its finalizer off, and deletes what has expired; it makes none.
        ("operator", "patch", "backupexports.backupexport.dev", True),
        ("operator", "delete", "backupexports.backupexport.dev", True),
        ("operator", "create", "backupexports.backupexport.dev", False),
        ("api", "create", "backupexports.backupexport.dev", True),
        ("api", "get", "pods", False),
        ("api", "create", "jobs.batch", False),
        ("api", "create", "exporttargets.backupexport.dev", False),
        ("runner", "get", "backupexports.backupexport.dev", False),
    ],
)
def test_everyone_may_do_their_own_work_only(
    installation: Installation, account: str, verb: str, resource: str, allowed: bool
) -> None:
    assert can_i(installation, account, verb, resource) is allowed


def test_the_operators_account_may_create_no_job_but_the_runners(
    installation: Installation, api: Api
) -> None:
    """Whoever gets hold of its token: each attempt is refused by a sentence that names it."""
    namespace, account = installation.namespace, f"{installation.release.name}-operator"
    job_id = api.export(project_id=SMALL).body["data"]["job_id"]
    assert api.finished(job_id)["status"] == "completed"
    good = get("-n", namespace, "job", f"bex-{job_id}")
    template = good["spec"]["template"]
    template["metadata"].pop("labels")
    template["metadata"].pop("creationTimestamp", None)
    policy = good["spec"].get("podFailurePolicy")

    def refusal(**changes: Any) -> str:
        spec = template["spec"] | changes.pop("pod", {})
        container = spec["containers"][0] | changes.pop("container", {})
        spec = spec | {"containers": [container, *changes.pop("more_containers", [])]}
        job = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": f"try-{secrets.token_hex(3)}", "namespace": namespace},
            "spec": {"suspend": True, "podFailurePolicy": policy, "template": {"spec": spec}},
        }
        try:
            kubectl(
                "create", "--dry-run=server", "-f", "-",
                "--as", f"system:serviceaccount:{namespace}:{account}", stdin=json.dumps(job),
            )  # fmt: skip
        except ToolError as error:
            return str(error)
        return ""

    assert refusal() == ""
    host = {"name": "x", "hostPath": {"path": "/"}}
    token = {"serviceAccountToken": {"path": "t"}}
    volumes = template["spec"]["volumes"]
    other = {"name": "x", "persistentVolumeClaim": {"claimName": "another"}}
    # The key of the tokens, and all that Helm installed the release from.
    own = f"{installation.release.name}-jwt"
    helms = f"sh.helm.release.v1.{installation.release.name}.v1"

    def whole(secret: str) -> list[dict[str, Any]]:
        return [*volumes, {"name": "x", "secret": {"secretName": secret}}]

    def key_of(secret: str) -> list[dict[str, Any]]:
        source = {"secret": {"name": secret, "items": [{"key": "k", "path": "k"}]}}
        return [*volumes, {"name": "x", "projected": {"sources": [source]}}]

    def valued(**source: Any) -> dict[str, Any]:
        return {"env": [{"name": "X", "valueFrom": source}]}

    here = {"fieldPath": "metadata.name"}
    assert refusal(container=valued(fieldRef=here)) == ""
    assert refusal(container=valued(resourceFieldRef={"resource": "limits.cpu"})) == ""
    assert refusal(pod={"volumes": key_of("some-target")}) == ""
    safe = template["spec"]["containers"][0]["securityContext"]
    for changes, words in (
        ({"container": {"image": "evil.example/shell"}}, "runner's image"),
        ({"container": {"command": ["sh"]}}, "without command"),
        ({"container": {"args": ["x"]}}, "without command"),
        ({"pod": {"initContainers": [{"name": "b", "image": "b"}]}}, "one container alone"),
        ({"more_containers": [{"name": "b", "image": "b"}]}, "one container alone"),
        ({"pod": {"serviceAccountName": account, "serviceAccount": account}}, "ServiceAccount"),
        ({"pod": {"automountServiceAccountToken": True}}, "without its token"),
        ({"pod": {"volumes": [*volumes, host]}}, "mount the exports"),
        ({"pod": {"volumes": [*volumes, other]}}, "mount the exports"),
        (
            {"pod": {"volumes": [*volumes, {"name": "x", "projected": {"sources": [token]}}]}},
            "mount the exports",
        ),
        ({"pod": {"volumes": whole("some-target")}}, "mount the exports"),
        (
            {"pod": {"volumes": [*volumes, {"name": "x", "configMap": {"name": "c"}}]}},
            "mount the exports",
        ),
        ({"pod": {"volumes": key_of(own)}}, "Secrets of the release's own"),
        ({"pod": {"volumes": key_of(helms)}}, "Secrets of the release's own"),
        (
            {"container": valued(secretKeyRef={"name": own, "key": "jwt-secret"})},
            "values from Secrets",
        ),
        ({"container": valued(secretKeyRef={"name": "t", "key": "password"})}, "values from"),
        ({"container": valued(configMapKeyRef={"name": "c", "key": "k"})}, "values from"),
        ({"container": {"envFrom": [{"secretRef": {"name": own}}]}}, "values from Secrets"),
        ({"container": {"envFrom": [{"configMapRef": {"name": "c"}}]}}, "values from Secrets"),
        ({"pod": {"hostNetwork": True}}, "node's namespaces"),
        ({"pod": {"hostPID": True}}, "node's namespaces"),
        ({"pod": {"shareProcessNamespace": True}}, "node's namespaces"),
        ({"pod": {"nodeName": "local"}}, "node's namespaces"),
        ({"pod": {"securityContext": {}}}, "more rights"),
        ({"container": {"securityContext": safe | {"runAsUser": 0}}}, "more rights"),
        ({"container": {"securityContext": safe | {"runAsNonRoot": False}}}, "more rights"),
        ({"container": {"ports": [{"containerPort": 1, "hostPort": 1}]}}, "more rights"),
        (
            {"container": {"securityContext": safe | {"allowPrivilegeEscalation": True}}},
            "more rights",
        ),
    ):
        told = refusal(**changes)
        assert "ValidatingAdmissionPolicy" in told, (changes, told)
        assert words in told, (changes, told)


def test_the_jobs_pod_is_restricted_and_sees_one_project(
    installation: Installation, api: Api
) -> None:
    namespace = installation.namespace
    job_id = api.export(project_id=SMALL).body["data"]["job_id"]
    assert api.finished(job_id)["status"] == "completed"
    enforced = get("namespace", namespace)["metadata"]["labels"]
    assert enforced["pod-security.kubernetes.io/enforce"] == "restricted"
    pods = get("-n", namespace, "pods", "-l", f"backupexport.dev/job-id={job_id}")["items"]
    assert len(pods) == 1
    spec = pods[0]["spec"]
    assert spec["automountServiceAccountToken"] is False
    (container,) = spec["containers"]
    mounts = {mount["mountPath"]: mount.get("subPath") for mount in container["volumeMounts"]}
    assert mounts == {"/exports": SMALL, "/run/backupexport": None, "/secret": None}


def test_the_password_is_told_nowhere(installation: Installation, api: Api) -> None:
    namespace = installation.namespace
    password = kubectl(
        "-n", namespace, "get", "secret", f"target-{SMALL}", "-o",
        "go-template={{base64decode .data.password}}",
    )  # fmt: skip
    assert len(password) > 20
    job_id = api.export(project_id=SMALL).body["data"]["job_id"]
    job = api.finished(job_id)
    told = {
        "GET /api/jobs/{id}": json.dumps(job),
        "the pod's log": kubectl("-n", namespace, "logs", f"job/bex-{job_id}"),
        "the operator's log": kubectl(
            "-n", namespace, "logs", f"deploy/{installation.release.name}-operator"
        ),
        "the API's log": _api_logs(namespace),
        "the manifest": installation.volume.text(f"{job['artifact']['path']}.json"),
    } | {
        kind: kubectl("-n", namespace, "get", kind, "-o", "yaml")
        for kind in ("bex", "ext", "jobs", "pods", "events")
    }
    # Around it, so that a failure says who told it.
    found = {
        place: [
            text[max(0, at.start() - 300) : at.start()].rpartition("\n")[2]
            for at in re.finditer(re.escape(password), text)
        ]
        for place, text in told.items()
    }
    assert {place: where for place, where in found.items() if where} == {}


def test_the_api_s_log_has_no_token_and_no_address(installation: Installation) -> None:
    token = installation.token()
    api = Api(installation.url, token)
    answer = api.export(project_id=SMALL, notify_email="owner-of-it@example.com")
    job_id = answer.body["data"]["job_id"]
    assert api.finished(job_id)["status"] == "completed"
    told = _api_logs(installation.namespace)
    assert answer.headers["x-request-id"] in told
    for part in (token, token.rsplit(".", 1)[1], "owner-of-it"):
        assert part not in told


def _api_logs(namespace: str) -> str:
    pods = ("-l", "app.kubernetes.io/component=api", "--tail=-1")
    return kubectl("-n", namespace, "logs", *pods)


def test_a_token_sees_its_own_projects_only(installation: Installation) -> None:
    small, large = installation.caller(SMALL), installation.caller(LARGE)
    job_id = small.export(project_id=SMALL).body["data"]["job_id"]
    assert small.finished(job_id)["status"] == "completed"
    hidden = large.call("GET", f"/api/jobs/{job_id}")
    unknown = large.call("GET", "/api/jobs/0b7cbb51-7c4f-4f52-9b0e-3f6a2b1c9d8e")
    assert hidden.status == unknown.status == 404
    assert hidden.body["code"] == unknown.body["code"]
    assert large.export(project_id=SMALL).status == 403


def test_nobody_comes_in_without_a_token(installation: Installation) -> None:
    for path, method in (("/api/backup/export", "POST"), ("/api/jobs/x", "GET")):
        answer = Api(installation.url, "not.a.token").call(method, path)
        assert answer.status == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")


def test_the_eleventh_request_in_a_minute_waits(installation: Installation) -> None:
    api = installation.caller()
    answers = [api.export(project_id=1) for _ in range(11)]
    assert [answer.status for answer in answers] == [400] * 10 + [429]
    assert 0 < int(answers[-1].headers["retry-after"]) <= 60
