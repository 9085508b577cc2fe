"""The chart's NetworkPolicies on a node that enforces them: what they close, and that all works.

What is refused here is reached where the engine is off: each case names both sides, so that a
server which isn't there is not taken for a refusal.
"""

import hashlib
import secrets
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import stand_ins
from installation import Installation
from metadata_service import ADDRESS, PORT, metadata_service
from playground.mail_server import MailServer
from playground.rest import Api
from playground.targets import make_target
from playground.tools import NeverHappenedError, apply, get, namespace, wait_for
from policy_engine import enforced_policies, is_possible
from rendered_chart import Manifest, of_kind, render
from stand_ins import UNNAMED_PORT, Address, reached, stand_in

pytestmark = pytest.mark.cluster

METADATA = (ADDRESS, PORT)
HTTP, HEALTH, VALKEY, DATABASE = 8080, 8081, 6379, 5432
# Of a Job's pod, as far as the policies know it; that it has them is tested with a real one.
RUNNERS = {"app.kubernetes.io/name": "backupexport", "app.kubernetes.io/component": "runner"}
# An engine learns of a pod when that runs; Python's start then takes longer than the engine.
SLOW = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"cpu": "100m", "memory": "512Mi"}}
# The engine has a new policy within a second; more is a busy machine's.
_PATIENCE = 120


@pytest.fixture(scope="module", autouse=True)
def enforced() -> Iterator[None]:
    if not is_possible():
        pytest.skip("the policy engine is for the native cluster's node, which is this machine")
    # First what waits for its turn on the machine: of the metadata service there is one, too.
    with enforced_policies(), metadata_service():
        yield


@dataclass(frozen=True)
class Pods:
    """A stand-in for each of the chart's pods, and two strangers; their addresses by name."""

    namespace: str
    addresses: dict[str, str]

    def at(self, name: str, port: int) -> Address:
        """A port of one of them."""
        return self.addresses[name], port

    def under(self, values: dict[str, Any] | None = None) -> None:
        """The chart's policies with `values`, in place of those before."""
        policies = of_kind(render({"networkPolicy": values or {}}), "NetworkPolicy")
        for policy in policies:
            policy["metadata"]["namespace"] = self.namespace
        apply(*policies)

    def become(self, name: str, opened: set[Address], closed: set[Address]) -> None:
        """Wait until a pod reaches what is `opened` and nothing of what is `closed`."""
        seen: set[Address] = set()

        def look() -> bool:
            seen.clear()
            seen.update(reached(self.namespace, name, opened | closed))
            return seen == opened

        try:
            wait_for(look, f"what {name} may reach", _PATIENCE)
        except NeverHappenedError as error:
            told = f"{error}: refused {opened - seen}, reached {seen & closed} of {self.addresses}"
            raise AssertionError(told) from None


@pytest.fixture(scope="module")
def pods() -> Iterator[Pods]:
    manifests = render()
    wanted = [_of_chart(manifests, component) for component in ("api", "operator", "valkey")]
    wanted.append(stand_in("runner", RUNNERS, []))
    database = [{"containerPort": port} for port in (DATABASE, HTTP)]
    wanted += [stand_in(name, {}, database) for name in ("stranger", "database")]
    with namespace(f"backupexport-egress-{secrets.token_hex(3)}") as name:
        yield Pods(name, stand_ins.start(name, wanted))


def kubernetes_api() -> Address:
    """Where the Service `kubernetes` leads to."""
    (found,) = get("endpointslices", "-l", "kubernetes.io/service-name=kubernetes")["items"]
    return found["endpoints"][0]["addresses"][0], found["ports"][0]["port"]


def _of_chart(manifests: list[Manifest], component: str) -> Any:
    (deployment,) = of_kind(manifests, "Deployment", f"-{component}")
    template = deployment["spec"]["template"]
    (container,) = template["spec"]["containers"]
    return stand_in(component, template["metadata"]["labels"], container["ports"])


def test_an_export_goes_its_whole_way(
    installation: Installation, api: Api, connection: dict[str, str], pods: Pods
) -> None:
    """With the policies that the chart has by default: database, volume, mail, download."""
    pods.under()
    mail = MailServer(installation.namespace, "policed-mail")
    mail.start()
    project = f"policed-{secrets.token_hex(3)}"
    by_mail = {
        "host": mail.host,
        "port": mail.starttls_port,
        "from": "exports@example.com",
        "allowedDomains": ["example.org"],
        "caCertificates": mail.authority,
        "secretRef": {"name": mail.login_secret},
    }
    make_target(
        installation.namespace, project, connection, deliveries={"email": by_mail}, resources=SLOW
    )
    try:
        # A delivery is over too soon for the engine to have been in its way for sure.
        database = (connection["host"], int(connection["port"]))
        pods.become("runner", {database, (mail.host, mail.starttls_port)}, {METADATA})
        answer = api.export(project_id=project, notify_email="owner@example.org")
        job_id = answer.body["data"]["job_id"]
        job = api.finished(job_id, 400)
        assert job["status"] == "completed", job
        of_job = ("-l", f"backupexport.dev/job-id={job_id}")
        for pod in get("-n", installation.namespace, "pods", *of_job)["items"]:
            assert RUNNERS.items() <= pod["metadata"]["labels"].items()
        with urllib.request.urlopen(api.link(job_id, 600), timeout=60) as file:
            assert hashlib.sha256(file.read()).hexdigest() == job["artifact"]["sha256"]
        wait_for(lambda: api.job(job_id)["notification"]["status"] == "sent", "the mail", 400)
    finally:
        mail.remove()


@pytest.mark.parametrize("component", ["api", "operator"])
def test_an_installation_s_own_pods_reach_no_metadata(
    installation: Installation, pods: Pods, component: str
) -> None:
    workload = f"deploy/{installation.release.name}-{component}"
    tried = {METADATA, kubernetes_api(), pods.at("stranger", HTTP)}
    assert reached(installation.namespace, workload, tried) == tried - {METADATA}
    assert METADATA in reached(pods.namespace, "stranger", [METADATA])


@pytest.mark.parametrize("component", ["api", "operator", "runner"])
def test_a_value_opens_the_metadata_for_one(pods: Pods, component: str) -> None:
    components = {"api", "operator", "runner"}
    elsewhere = {pods.at("stranger", DATABASE), pods.at("stranger", HTTP)}
    pods.under()
    for name in components:
        pods.become(name, elsewhere, {METADATA})
    pods.under({component: {"cloudMetadata": True}})
    pods.become(component, {*elsewhere, METADATA}, set())
    for name in components - {component}:
        pods.become(name, elsewhere, {METADATA})


def test_the_kubernetes_api_is_allowed_by_its_endpoints(pods: Pods) -> None:
    """As docs/configuration.md says; its name is looked up on the way."""
    host, port = kubernetes_api()
    dns = {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}
    server = {"ports": [{"port": port}], "to": [{"ipBlock": {"cidr": f"{host}/32"}}]}
    by_name = ("kubernetes.default.svc", 443)
    closed = {pods.at("stranger", HTTP), METADATA}
    pods.under({"operator": {"egress": [dns]}})
    pods.become("operator", set(), {by_name, *closed})
    pods.under({"operator": {"egress": [dns, server]}})
    pods.become("operator", {by_name, (host, port)}, closed)


@pytest.mark.parametrize("component", ["api", "operator", "runner"])
def test_rules_of_ones_own_are_the_only_ones(pods: Pods, component: str) -> None:
    host, port = pods.at("database", DATABASE)
    rule = {"ports": [{"port": port}], "to": [{"ipBlock": {"cidr": f"{host}/32"}}]}
    pods.under({component: {"egress": [rule]}})
    others = {pods.at("database", HTTP), pods.at("stranger", DATABASE), METADATA}
    pods.become(component, {(host, port)}, others)
    pods.under({"egress": False})
    pods.become(component, {(host, port), *others}, set())


def test_who_comes_in(pods: Pods) -> None:
    pods.under()
    served = {pods.at("api", HTTP), pods.at("api", HEALTH), pods.at("operator", HEALTH)}
    unserved = {pods.at(name, UNNAMED_PORT) for name in ("api", "operator", "valkey")}
    unserved.add(pods.at("valkey", VALKEY))
    pods.become("stranger", served, {*unserved, pods.at("runner", UNNAMED_PORT)})
    pods.become("runner", served, unserved)
    pods.become("api", {pods.at("valkey", VALKEY)}, {pods.at("valkey", UNNAMED_PORT)})
    pods.become("valkey", set(), {*served, pods.at("stranger", HTTP), METADATA})


def test_those_that_are_named_come_in_alone(pods: Pods) -> None:
    named = [{"podSelector": {"matchLabels": {"app.kubernetes.io/component": "runner"}}}]
    pods.under({"api": {"from": named}, "operator": {"from": named}})
    named_only = {pods.at("api", HTTP), pods.at("api", HEALTH), pods.at("operator", HEALTH)}
    pods.become("stranger", set(), named_only)
    pods.become("runner", named_only, set())
