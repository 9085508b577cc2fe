"""The chart on a real cluster: helm test, upgrade, and what an uninstall leaves."""

import secrets

import pytest
from installation import Installation
from playground.release import Release
from playground.tools import get, kubectl, namespace, run

pytestmark = pytest.mark.cluster


def test_helm_test_passes(installation: Installation) -> None:
    assert "Phase:          Succeeded" in installation.release.test()


def test_two_targets_of_one_project_are_told_apart(installation: Installation) -> None:
    ready = "jsonpath={.items[*].status.conditions[0].reason}"
    kubectl(
        "-n", installation.namespace, "wait", "exporttarget", "--all",
        "--for=condition=Ready", "--timeout=30s",
    )  # fmt: skip
    reasons = kubectl("-n", installation.namespace, "get", "exporttargets", "-o", ready)
    assert set(reasons.split()) == {"Serving"}


def test_an_upgrade_keeps_the_secret_and_an_uninstall_keeps_the_exports() -> None:
    with namespace(f"backupexport-chart-{secrets.token_hex(3)}") as name:
        release = Release(name)
        release.install()
        (secret,) = _jwt_secrets(name)
        release.install({"api": {"podAnnotations": {"again": "yes"}}})
        assert _jwt_secrets(name) == [secret]
        run("helm", "uninstall", release.name, "--namespace", name, "--wait")
        claims = get("-n", name, "pvc")["items"]
        assert [claim["metadata"]["name"] for claim in claims] == [f"{release.name}-exports"]
        assert "backupexports.backupexport.dev" in kubectl("get", "crds", "-o", "name")


def _jwt_secrets(namespace_name: str) -> list[str]:
    found = get("-n", namespace_name, "secrets")["items"]
    return [str(item["data"]) for item in found if item["metadata"]["name"].endswith("-jwt")]
