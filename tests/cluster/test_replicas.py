"""Two replicas are one API: one limit, one record, and a storage that may go away."""

import json
import secrets
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import api_pods
import pytest
from caller_tokens import caller_token, signing_key
from installation import Installation
from playground.release import Release
from playground.rest import Answer, Api
from playground.targets import make_target
from playground.tools import get, kubectl, namespace, wait_for

pytestmark = pytest.mark.cluster


class Pods:
    """Callers of one subject, each of a pod of its own."""

    def __init__(self, release: Release, urls: list[str]) -> None:
        self._release = release
        self._urls = urls

    def caller(self) -> list[Api]:
        token = caller_token(signing_key(self._release), "*")
        return [Api(url, token) for url in self._urls]


@pytest.fixture(scope="module")
def pods(installation: Installation) -> Iterator[Pods]:
    with ExitStack() as stack:
        names = api_pods.names(installation.namespace)
        assert len(names) == 2
        urls = [
            stack.enter_context(api_pods.forwarded(installation.namespace, name)) for name in names
        ]
        yield Pods(installation.release, urls)


def post(api: Api) -> Answer:
    """An invalid request: it counts, and nothing comes of it."""
    return api.export(project_id=1)


def test_ten_a_minute_means_ten_in_all(pods: Pods) -> None:
    first, second = pods.caller()
    began = time.monotonic()
    answers = [post(api) for _ in range(5) for api in (first, second)]
    assert [answer.status for answer in answers] == [400] * 10
    left = [int(answer.headers["ratelimit-remaining"]) for answer in answers]
    assert left == list(range(9, -1, -1))
    for api in (first, second):
        refused = post(api)
        assert refused.status == 429
        # Until the first of them is a minute old.
        assert 59 - (time.monotonic() - began) <= int(refused.headers["retry-after"]) <= 61
        assert api.call("GET", "/api/jobs").status == 200


def test_waiting_as_long_as_it_says_is_enough() -> None:
    with namespace(f"backupexport-limit-{secrets.token_hex(3)}") as name, ExitStack() as stack:
        release = Release(name)
        release.install(
            {
                "api": {"rateLimit": {"exports": "3/20 seconds"}, "drainSeconds": 0},
                "operator": {"replicas": 1},
                "storage": {"size": "1Gi", "keep": False},
            }
        )
        urls = [stack.enter_context(api_pods.forwarded(name, pod)) for pod in api_pods.names(name)]
        first, second = Pods(release, urls).caller()
        assert [post(api).status for api in (first, second, first)] == [400] * 3
        refused = post(second)
        assert refused.status == 429
        wait = int(refused.headers["retry-after"])
        assert 1 <= wait <= 21
        # The wait is what is tested: there is nothing to look at meanwhile.
        time.sleep(wait)
        assert post(first).status == 400


@pytest.fixture
def idle_project(installation: Installation) -> Iterator[str]:
    """A project whose target is suspended, so that no Job comes of its exports."""
    project = f"suspended{secrets.token_hex(3)}"
    make_target(installation.namespace, project, {"host": "nowhere.invalid"}, suspend=True)
    yield project
    kubectl("-n", installation.namespace, "delete", "exporttarget", f"target-{project}")
    kubectl(
        "-n", installation.namespace, "delete", "bex",
        "--field-selector", f"spec.projectId={project}",
    )  # fmt: skip


def test_a_job_accepted_by_one_is_served_by_the_other_at_once(
    pods: Pods, idle_project: str
) -> None:
    for _ in range(2):
        accepting, other = pods.caller()
        for _ in range(10):
            answer = accepting.export(project_id=idle_project)
            assert answer.status == 202, answer.body
            served = other.call("GET", answer.headers["location"])
            assert served.status == 200
            assert served.body["data"]["project_id"] == idle_project
            accepting, other = other, accepting


def test_one_key_is_one_job_though_both_are_asked_at_once(
    installation: Installation, pods: Pods, idle_project: str
) -> None:
    callers = pods.caller()
    made = set()
    for number in range(5):
        with ThreadPoolExecutor() as together:
            sent = [
                together.submit(api.export, f"key-{number}", project_id=idle_project)
                for api in callers
            ]
            answers = [each.result() for each in sent]
        assert [answer.status for answer in answers] == [202, 202]
        (job_id,) = {answer.body["data"]["job_id"] for answer in answers}
        made.add(job_id)
        replayed = [answer.headers.get("idempotency-replayed") for answer in answers]
        assert sorted(replayed, key=str) == [None, "true"]
    stored = get(
        "-n", installation.namespace, "bex", "--field-selector", f"spec.projectId={idle_project}"
    )
    assert {item["metadata"]["name"] for item in stored["items"]} == made
    first, second = pods.caller()
    assert first.export("mine", project_id=idle_project).status == 202
    other_body = second.export("mine", project_id=idle_project, format="tar")
    assert (other_body.status, other_body.body["code"]) == (409, "idempotency_key_reused")


def test_without_its_storage_the_limit_goes_on_in_each_pod(
    installation: Installation, pods: Pods
) -> None:
    for _ in range(3):
        before, began = pods.caller(), time.monotonic()
        for api in before:
            assert post(api).status == 400
        with _without_valkey(installation):
            # Losing it is no fresh start: each pod has counted what it was asked itself.
            answers = [[post(api).status for _ in range(10)] for api in before]
            # Later the first ones count no more, and a busy node may take as long.
            if time.monotonic() - began > 55:
                continue
            assert answers == [[400] * 9 + [429]] * 2
            _count_alone(pods)
            break
    else:
        raise AssertionError("it was never gone within a minute")

    def shared_again() -> bool:
        first, second = pods.caller()
        answers = [post(first).status for _ in range(10)] + [post(second).status]
        assert set(answers) <= {400, 429}
        return answers[-1] == 429

    wait_for(shared_again, "a limit for both pods together", 240, every=1)


@contextmanager
def _without_valkey(installation: Installation) -> Iterator[None]:
    valkey = f"{installation.release.name}-valkey"
    api_pods.scale(installation.namespace, valkey, "valkey", 0)
    try:
        yield
    finally:
        api_pods.scale(installation.namespace, valkey, "valkey", 1)


def _count_alone(pods: Pods) -> None:
    alone = pods.caller()
    started = time.monotonic()
    for api in alone:
        assert [post(api).status for _ in range(11)] == [400] * 10 + [429]
    assert time.monotonic() - started < 30
    assert alone[0].call("GET", "/readyz").status == 200


def test_what_counts_is_shut_off(installation: Installation) -> None:
    name, release = installation.namespace, installation.release
    (pod,) = api_pods.names(name, "valkey")
    spec = get("-n", name, "pod", pod)["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert [list(volume) for volume in spec["volumes"]] == [["name", "secret"]]
    asked = kubectl("-n", name, "exec", pod, "--", "valkey-cli", "get", "LIMITS:x")
    assert "NOAUTH" in asked
    password = kubectl(
        "-n", name, "get", "secret", f"{release.name}-valkey", "-o",
        "go-template={{base64decode .data.password}}",
    )  # fmt: skip
    assert len(password) == 48
    told = [
        kubectl("-n", name, "exec", pod, "--", "sh", "-c", "cat /proc/*/cmdline /etc/valkey/*"),
        kubectl("-n", name, "describe", "deployments,pods,services,networkpolicies"),
        kubectl("-n", name, "logs", pod),
        *(kubectl("-n", name, "logs", other) for other in api_pods.names(name)),
        json.dumps([get("-n", name, kind) for kind in ("deployments", "pods")]),
    ]
    assert not any(password in text for text in told)


def test_the_api_may_use_nothing_but_its_counts(installation: Installation) -> None:
    name, release = installation.namespace, installation.release
    (pod,) = api_pods.names(name, "valkey")
    password = kubectl(
        "-n", name, "get", "secret", f"{release.name}-valkey", "-o",
        "go-template={{base64decode .data.password}}",
    )  # fmt: skip
    script = "".join(
        f"{line}\n"
        for line in (
            f"AUTH api {password}", "PING", "KEYS *", "FLUSHALL", "CONFIG GET *", "LPUSH other 1",
            "ACL LIST",
        )
    )  # fmt: skip
    answers = kubectl("-n", name, "exec", "-i", pod, "--", "valkey-cli", stdin=script)
    lines = [line for line in answers.splitlines() if line]
    assert lines[:2] == ["OK", "PONG"]
    assert len(lines) == 7
    assert all(line.startswith("NOPERM") for line in lines[2:])


def test_a_drained_node_leaves_one_in_service(installation: Installation) -> None:
    def look() -> tuple[int, int]:
        budget = get("-n", installation.namespace, "pdb", f"{installation.release.name}-api")
        status = budget["status"]
        return status["expectedPods"], status["disruptionsAllowed"]

    # A busy node's pods may be late with an answer to the kubelet.
    wait_for(lambda: look() == (2, 1), "two pods of which one may go", 120)
