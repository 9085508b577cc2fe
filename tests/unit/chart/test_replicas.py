"""What the chart brings so that the API can have several pods, and who may reach which."""

import hashlib
import json
from typing import Any

import builders
import pytest
from backupexport_contract.backup_export import BackupExport
from backupexport_contract.export_target import ExportTarget
from backupexport_operator.manifests.jobs import job_manifest
from backupexport_operator.manifests.pod import JobSettings
from rendered_chart import (
    COMBINATIONS,
    EVERYTHING,
    LONG_SECRET,
    PUBLIC_KEY,
    Manifest,
    data_of,
    environment,
    every_combination,
    of_kind,
    render,
    secret_file,
)

STORAGE = "BACKUPEXPORT_RATE_LIMIT_STORAGE_URL"


def pod_template(manifests: list[Manifest], component: str) -> Any:
    (deployment,) = of_kind(manifests, "Deployment", f"-{component}")
    return deployment["spec"]["template"]


def annotations(manifests: list[Manifest], component: str) -> Any:
    return pod_template(manifests, component)["metadata"].get("annotations", {})


@pytest.mark.parametrize(
    ("values", "brings", "storage"),
    [
        ({}, True, "r-backupexport-valkey"),
        ({"api": {"replicas": 1}}, False, None),
        ({"api": {"replicas": 1, "autoscaling": {"enabled": True}}}, True, "r-backupexport-valkey"),
        ({"api": {"replicas": 1}, "valkey": {"enabled": True}}, True, "r-backupexport-valkey"),
        ({"valkey": {"enabled": False}}, False, None),
        ({"valkey": {"existingSecret": "mine"}}, True, "mine"),
        ({"api": {"rateLimit": {"storageUrl": "redis://h"}}}, False, "redis://h"),
        ({"api": {"rateLimit": {"storageUrlSecret": {"name": "url"}}}}, False, "url"),
    ],
)
def test_exports_are_counted_in_one_place(
    values: dict[str, Any], brings: bool, storage: str | None
) -> None:
    manifests = render(values)
    for kind in ("Deployment", "Service"):
        assert bool(of_kind(manifests, kind, "-valkey")) is brings
    found = environment(manifests, "api").get(STORAGE)
    if found is None and f"{STORAGE}_FILE" in environment(manifests, "api"):
        found = secret_file(manifests, "RATE_LIMIT_STORAGE_URL_FILE")["name"]
    assert found == storage


def test_the_password_is_one_and_only_its_hash_reaches_the_server() -> None:
    manifests = render()
    data = data_of(manifests, "-valkey")
    password = data["password"]
    assert len(password) == 48
    assert data["url"] == f"redis://api:{password}@r-backupexport-valkey:6379"
    default, api, *rest = data["users.acl"].splitlines()
    assert default == "user default off"
    assert api.startswith(f"user api on #{hashlib.sha256(password.encode()).hexdigest()} ")
    assert not rest
    template = pod_template(manifests, "valkey")
    (volume,) = template["spec"]["volumes"]
    assert volume["secret"]["items"] == [{"key": "users.acl", "path": "users.acl"}]
    secret = of_kind(manifests, "Secret", "-valkey")
    others = [manifest for manifest in manifests if manifest not in secret]
    assert password not in json.dumps(others)


def test_another_password_makes_new_pods_and_the_same_one_none() -> None:
    def sums(password: str, **more: str) -> list[Any]:
        manifests = render({"valkey": {"password": password, **more}})
        return [annotations(manifests, component) for component in ("api", "valkey")]

    first, again, other = (
        sums(LONG_SECRET),
        sums(LONG_SECRET, maxMemory="64mb"),
        sums(LONG_SECRET[::-1]),
    )
    assert first == again
    for one, another in zip(first, other, strict=True):
        assert one != another
    assert len(first[0]["checksum/valkey"]) <= 8


def test_the_keys_of_tokens_reach_the_api() -> None:
    manifests = render(COMBINATIONS["public keys"])
    assert not of_kind(manifests, "Secret", "-jwt")
    env = environment(manifests, "api")
    assert "BACKUPEXPORT_JWT_SECRET_FILE" not in env
    assert env["BACKUPEXPORT_JWT_ALGORITHMS"] == "RS256,EdDSA"
    (keys,) = of_kind(manifests, "ConfigMap")
    spec = pod_template(manifests, "api")["spec"]
    (volume,) = [item for item in spec["volumes"] if "configMap" in item]
    assert not [item for item in spec["volumes"] if "secret" in item]
    assert volume["configMap"]["name"] == keys["metadata"]["name"]
    (mount,) = [
        item for item in spec["containers"][0]["volumeMounts"] if item["name"] == volume["name"]
    ]
    file = env["BACKUPEXPORT_JWT_PUBLIC_KEY_FILE"].removeprefix(f"{mount['mountPath']}/")
    assert keys["data"][file].strip() == PUBLIC_KEY.strip()
    assert env["BACKUPEXPORT_JWT_AUDIENCE"] == "exports"
    other = {"algorithms": ["RS256"], "publicKey": PUBLIC_KEY + "#", "audience": "exports"}
    assert annotations(render({"auth": {"jwt": other}}), "api") != annotations(manifests, "api")


def test_a_key_set_and_a_secret_can_stand_side_by_side() -> None:
    manifests = render(COMBINATIONS["published keys"])
    env = environment(manifests, "api")
    assert env["BACKUPEXPORT_JWT_JWKS_URL"] == "https://issuer.example/jwks"
    assert "BACKUPEXPORT_JWT_SECRET_FILE" in env
    assert env["BACKUPEXPORT_JWT_ANY_AUDIENCE"] == "true"
    assert of_kind(manifests, "Secret", "-jwt")


def test_the_proxies_that_are_trusted_reach_the_api() -> None:
    assert "BACKUPEXPORT_TRUSTED_PROXIES" not in environment(render(), "api")
    values = {"api": {"trustedProxies": ["10.0.0.0/8", "2001:db8::/32"]}}
    env = environment(render(values), "api")
    assert env["BACKUPEXPORT_TRUSTED_PROXIES"] == "10.0.0.0/8,2001:db8::/32"


def test_where_the_command_line_logs_in_reaches_the_api() -> None:
    assert not [name for name in environment(render(), "api") if "LOGIN" in name]
    login = {
        "issuer": "https://login.example",
        "clientId": "backupexport-cli",
        "scopes": ["openid", "offline_access"],
        "audience": "exports",
    }
    env = environment(render({"auth": {"login": login}}), "api")
    assert env["BACKUPEXPORT_LOGIN_ISSUER"] == "https://login.example"
    assert env["BACKUPEXPORT_LOGIN_CLIENT_ID"] == "backupexport-cli"
    assert env["BACKUPEXPORT_LOGIN_SCOPES"] == "openid offline_access"
    assert env["BACKUPEXPORT_LOGIN_AUDIENCE"] == "exports"
    values = {"jwt": {"issuer": "https://issuer.example"}, "login": {"clientId": "cli"}}
    env = environment(render({"auth": values}), "api")
    assert "BACKUPEXPORT_LOGIN_ISSUER" not in env
    assert env["BACKUPEXPORT_LOGIN_SCOPES"] == "openid"


def test_what_is_asked_of_tokens_reaches_the_api() -> None:
    env = environment(render(), "api")
    assert env["BACKUPEXPORT_TOKENS_WITHOUT_PROJECTS"] == "none"
    assert (env["BACKUPEXPORT_JWT_LEEWAY_SECONDS"], env["BACKUPEXPORT_JWT_ANY_AUDIENCE"]) == (
        "5",
        "false",
    )
    assert "BACKUPEXPORT_JWT_TYPE" not in env
    jwt = {"tokensWithoutProjects": "all", "type": "at+jwt", "leewaySeconds": 60}
    env = environment(render({"auth": {"jwt": jwt}}), "api")
    assert env["BACKUPEXPORT_TOKENS_WITHOUT_PROJECTS"] == "all"
    assert env["BACKUPEXPORT_JWT_TYPE"] == "at+jwt"
    assert env["BACKUPEXPORT_JWT_LEEWAY_SECONDS"] == "60"


@pytest.mark.parametrize(
    ("api", "maxima"),
    [
        ({}, [1]),
        ({"podDisruptionBudget": {"maxUnavailable": "50%"}}, ["50%"]),
        ({"podDisruptionBudget": {"enabled": False}}, []),
        ({"replicas": 1}, []),
        ({"autoscaling": {"enabled": True, "minReplicas": 1}}, []),
        ({"replicas": 1, "autoscaling": {"enabled": True}}, [1]),
    ],
)
def test_the_disruption_budget(api: dict[str, Any], maxima: list[Any]) -> None:
    budgets = of_kind(render({"api": api}), "PodDisruptionBudget", "-api")
    assert [budget["spec"]["maxUnavailable"] for budget in budgets] == maxima


def test_an_autoscaler_is_alone_in_choosing_the_number() -> None:
    manifests = render(EVERYTHING)
    (deployment,) = of_kind(manifests, "Deployment", "-api")
    assert "replicas" not in deployment["spec"]
    (autoscaler,) = of_kind(manifests, "HorizontalPodAutoscaler")
    assert autoscaler["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert (autoscaler["spec"]["minReplicas"], autoscaler["spec"]["maxReplicas"]) == (3, 6)
    assert not of_kind(render(), "HorizontalPodAutoscaler")


def test_pods_are_spread_over_nodes_unless_told_otherwise() -> None:
    def spread(values: dict[str, Any]) -> Any:
        return pod_template(render(values), "api")["spec"]["topologySpreadConstraints"]

    (default,) = spread({})
    assert default["topologyKey"] == "kubernetes.io/hostname"
    labels = pod_template(render(), "api")["metadata"]["labels"]
    assert default["labelSelector"]["matchLabels"].items() <= labels.items()
    assert spread({"api": {"topologySpreadConstraints": []}}) == []
    assert spread(EVERYTHING) == [{"topologyKey": "zone", "maxSkew": 2}]


def test_the_ingress_shows_what_users_need() -> None:
    manifests = render(EVERYTHING)
    (ingress,) = of_kind(manifests, "Ingress")
    spec = ingress["spec"]
    assert spec["ingressClassName"] == "nginx"
    assert [rule["host"] for rule in spec["rules"]] == ["exports.example.com", "*.example.org"]
    (service,) = of_kind(manifests, "Service", "-api")
    for rule in spec["rules"]:
        paths = rule["http"]["paths"]
        assert {(path["path"], path["pathType"]) for path in paths} == {
            ("/", "Exact"),
            ("/assets", "Prefix"),
            ("/api", "Prefix"),
            ("/docs", "Prefix"),
            ("/openapi.json", "Exact"),
        }
        assert {path["backend"]["service"]["name"] for path in paths} == {
            service["metadata"]["name"]
        }
    assert not of_kind(render(), "Ingress")


@pytest.mark.parametrize(
    "ingress",
    [
        {"hosts": ["a.h", "*.h"], "tls": [{"secretName": "t"}]},
        {"hosts": ["a.h", "*.h"], "tls": [{"hosts": ["*.h"]}]},
        {"hosts": ["a.h", "h"], "tls": [{"hosts": ["a.h"]}, {"hosts": ["h"]}]},
        {"hosts": ["a.h"], "allowHttp": True},
    ],
    ids=str,
)
def test_an_ingress_with_tls_for_all_or_where_asked_for(ingress: dict[str, Any]) -> None:
    (made,) = of_kind(render({"ingress": {"enabled": True, **ingress}}), "Ingress")
    assert made["spec"].get("tls", []) == ingress.get("tls", [])


def test_prometheus_finds_the_metrics_where_asked() -> None:
    manifests = render(EVERYTHING)
    (monitor,) = of_kind(manifests, "ServiceMonitor", "-api")
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert monitor["metadata"]["labels"]["team"] == "data"
    (endpoint,) = monitor["spec"]["endpoints"]
    assert (endpoint["port"], endpoint["path"]) == ("metrics", "/metrics")
    (service,) = of_kind(manifests, "Service", "-api-metrics")
    selected = monitor["spec"]["selector"]["matchLabels"]
    assert selected.items() <= service["metadata"]["labels"].items()
    assert not of_kind(render(), "ServiceMonitor")


def chosen_by(policy: Manifest, manifests: list[Manifest]) -> list[str]:
    selector = policy["spec"]["podSelector"]["matchLabels"].items()
    return [
        deployment["metadata"]["name"].rpartition("-")[2]
        for deployment in of_kind(manifests, "Deployment")
        if selector <= deployment["spec"]["template"]["metadata"]["labels"].items()
    ]


def test_who_may_reach_which_pod() -> None:
    manifests = render()
    policies = {
        policy["metadata"]["name"].rpartition("-")[2]: policy
        for policy in of_kind(manifests, "NetworkPolicy")
    }
    assert policies.keys() == {"api", "operator", "runner", "valkey"}
    for component in ("api", "operator", "valkey"):
        assert chosen_by(policies[component], manifests) == [component]
    specs = {component: policy["spec"] for component, policy in policies.items()}
    assert specs["api"]["ingress"] == [{"ports": [{"port": "http"}, {"port": "health"}]}]
    assert specs["operator"]["ingress"] == [{"ports": [{"port": "health"}]}]
    assert "ingress" not in specs["runner"]
    (rule,) = specs["valkey"]["ingress"]
    assert rule["ports"] == [{"port": "valkey"}]
    (peer,) = rule["from"]
    assert peer == {"podSelector": specs["api"]["podSelector"]}
    assert specs["valkey"]["policyTypes"] == ["Ingress", "Egress"]
    assert "egress" not in specs["valkey"]
    for component in ("api", "operator", "runner"):
        assert specs[component]["policyTypes"] == ["Ingress", "Egress"]


def test_nobody_reaches_the_runners_of_the_operator() -> None:
    export = BackupExport.model_validate(
        {
            "metadata": {
                "name": "a",
                "namespace": "n",
                "uid": "u",
                "creationTimestamp": "2026-01-29T15:30:00Z",
            },
            "spec": {"projectId": "a"},
        }
    )
    target = ExportTarget.model_validate(
        {"metadata": {"name": "t"}, "spec": {"projectId": "a", "secretRef": {"name": "s"}}}
    )
    job = job_manifest(
        export,
        target,
        JobSettings(namespace="n", runner_image="i", storages=builders.STORAGES),
        builders.PLACE,
    )
    labels = job["spec"]["template"]["metadata"]["labels"]
    (policy,) = of_kind(render(), "NetworkPolicy", "-runner")
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()


def test_the_api_can_be_kept_to_some_and_the_chart_s_own_test() -> None:
    manifests = render(EVERYTHING)
    (policy,) = of_kind(manifests, "NetworkPolicy", "-api")
    (rule,) = policy["spec"]["ingress"]
    given, own = rule["from"]
    assert given == {"namespaceSelector": {}}
    (pod,) = of_kind(manifests, "Pod")
    assert own["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()


def test_the_api_s_metrics_can_be_kept_to_others() -> None:
    prometheus = {"podSelector": {"matchLabels": {"app": "prometheus"}}}
    manifests = render({"networkPolicy": {"api": {"metricsFrom": [prometheus]}}})
    (policy,) = of_kind(manifests, "NetworkPolicy", "-api")
    assert policy["spec"]["ingress"] == [
        {"ports": [{"port": "http"}]},
        {"ports": [{"port": "health"}], "from": [prometheus]},
    ]
    # On the port of the users they would be everybody's all the same.
    assert environment(manifests, "api")["BACKUPEXPORT_METRICS_ON_PUBLIC_PORT"] == "false"


@every_combination
def test_the_api_s_metrics_are_on_both_ports_unless_they_are_kept_to_some(
    values: dict[str, Any],
) -> None:
    given = environment(render(values), "api")
    assert given["BACKUPEXPORT_METRICS_ON_PUBLIC_PORT"] == "true"


@every_combination
def test_probes_and_users_have_ports_of_their_own(values: dict[str, Any]) -> None:
    manifests = render(values)
    (container,) = pod_template(manifests, "api")["spec"]["containers"]
    ports = {port["name"]: str(port["containerPort"]) for port in container["ports"]}
    given = environment(manifests, "api")
    assert ports == {
        "http": given["BACKUPEXPORT_PORT"], "health": given["BACKUPEXPORT_HEALTH_PORT"]
    }  # fmt: skip
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["port"] == "health"
    for service in of_kind(manifests, "Service", "-api"):
        assert [port["targetPort"] for port in service["spec"]["ports"]] == ["http"]


def test_policies_can_be_left_out() -> None:
    assert not of_kind(render({"networkPolicy": {"enabled": False}}), "NetworkPolicy")


@every_combination
def test_pods_have_time_to_drain(values: dict[str, Any]) -> None:
    manifests = render(values)
    drain = float(environment(manifests, "api")["BACKUPEXPORT_DRAIN_SECONDS"])
    spec = pod_template(manifests, "api")["spec"]
    assert spec["terminationGracePeriodSeconds"] >= drain + 15
    assert "lifecycle" not in spec["containers"][0]
