"""Where the pods may connect to: anywhere but where clouds hand out identities, or as said."""

from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from rendered_chart import Manifest, every_combination, of_kind, render, template

COMPONENTS = ("api", "operator", "runner")
METADATA = (
    "169.254.169.254", "169.254.170.2", "169.254.170.23", "168.63.129.16", "100.100.100.200",
    "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254",
)  # fmt: skip


def spec_of(manifests: list[Manifest], component: str) -> Any:
    (policy,) = of_kind(manifests, "NetworkPolicy", f"-{component}")
    return policy["spec"]


def allows(spec: Manifest, address: str, port: int, protocol: str = "TCP") -> bool:
    """What the NetworkPolicy says of a connection out of the cluster."""
    return "Egress" not in spec["policyTypes"] or any(
        _has_port(rule, port, protocol) and _has_peer(rule, address)
        for rule in spec.get("egress", [])
    )


def _has_port(rule: Manifest, port: int, protocol: str) -> bool:
    return "ports" not in rule or {"port": port, "protocol": protocol} in rule["ports"]


def _has_peer(rule: Manifest, address: str) -> bool:
    blocks = [peer["ipBlock"] for peer in rule.get("to", []) if "ipBlock" in peer]
    return "to" not in rule or any(
        ip_address(address) in ip_network(block["cidr"])
        and not any(ip_address(address) in ip_network(one) for one in block.get("except", []))
        for block in blocks
    )


@every_combination
def test_nobody_reaches_the_metadata_of_a_cloud_unless_asked_for(values: dict[str, Any]) -> None:
    manifests = render(values)
    if not values.get("networkPolicy", {}).get("enabled", True):
        assert not of_kind(manifests, "NetworkPolicy")
        return
    for component in COMPONENTS:
        spec = spec_of(manifests, component)
        for address in METADATA:
            for port in (80, 988, 8080):
                assert not allows(spec, address, port), (component, address, port)


@pytest.mark.parametrize("component", COMPONENTS)
def test_everything_else_is_reached(component: str) -> None:
    spec = spec_of(render(), component)
    # Google's names come from there, and a node's own cache of names has such an address.
    for address in ("10.96.0.10", "169.254.169.254", "169.254.20.10", "2001:db8::1"):
        assert allows(spec, address, 53, "UDP")
        assert allows(spec, address, 53, "TCP")
    for address in ("10.0.0.7", "192.168.1.1", "203.0.113.9", "169.254.169.253", "fd00::7"):
        for port in (25, 443, 465, 587, 5432, 6379, 6432, 6443, 8443):
            assert allows(spec, address, port)
    # A plugin may match pods by their labels alone.
    assert any({"namespaceSelector": {}} in rule.get("to", []) for rule in spec["egress"])


@pytest.mark.parametrize(
    ("component", "port"), [("api", 6443), ("operator", 443), ("runner", 5432)]
)
def test_what_it_needs_most_is_reached_on_nodes_too(component: str, port: int) -> None:
    rules = spec_of(render(), component)["egress"]
    assert any("to" not in rule and _has_port(rule, port, "TCP") for rule in rules)


@pytest.mark.parametrize("component", COMPONENTS)
def test_a_value_opens_the_metadata_for_one(component: str) -> None:
    manifests = render({"networkPolicy": {component: {"cloudMetadata": True}}})
    for other in COMPONENTS:
        spec = spec_of(manifests, other)
        for address in METADATA:
            assert allows(spec, address, 80) == (other == component)


@pytest.mark.parametrize("component", COMPONENTS)
@pytest.mark.parametrize("rules", [[], [{"ports": [{"port": 443}]}]])
def test_rules_of_ones_own_are_the_only_ones(component: str, rules: list[Manifest]) -> None:
    spec = spec_of(render({"networkPolicy": {component: {"egress": rules}}}), component)
    assert spec["egress"] == rules
    assert "Egress" in spec["policyTypes"]


def test_they_can_be_turned_off_and_the_way_in_stays_closed() -> None:
    manifests = render({"networkPolicy": {"egress": False}})
    for component in COMPONENTS:
        spec = spec_of(manifests, component)
        assert spec["policyTypes"] == ["Ingress"]
        assert "egress" not in spec
    assert spec_of(manifests, "valkey")["policyTypes"] == ["Ingress", "Egress"]


def test_an_address_that_is_none_is_refused() -> None:
    done = template({"networkPolicy": {"metadataAddresses": ["metadata.google.internal"]}})
    assert done.returncode != 0
    assert "metadataAddresses" in done.stderr
