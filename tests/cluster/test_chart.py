"""The chart on a real cluster: helm test, upgrade, and what an uninstall leaves."""

import secrets

import pytest
from installation import Installation
from playground.release import Release
from playground.targets import API_VERSION
from playground.tools import ToolError, apply, get, kubectl, namespace, run, wait_for

pytestmark = pytest.mark.cluster


def test_helm_test_passes(installation: Installation) -> None:
    assert "Phase:          Succeeded" in installation.release.test()


def test_two_targets_of_one_project_are_told_apart(installation: Installation) -> None:
    def reason(name: str) -> str:
        ready = "jsonpath={.status.conditions[?(@.type=='Ready')].reason}"
        return kubectl("-n", installation.namespace, "get", "exporttarget", name, "-o", ready)

    spec = {"projectId": "served-twice", "secretRef": {"name": "any"}}
    for name, expected in (("served-a", "Serving"), ("served-b", "DuplicateProject")):
        apply(
            {
                "apiVersion": API_VERSION,
                "kind": "ExportTarget",
                "metadata": {"name": name, "namespace": installation.namespace},
                "spec": spec,
            }
        )
        wait_for(lambda: reason(name) == expected, f"{expected} of {name}", 120)  # noqa: B023
    assert reason("served-a") == "Serving"


def test_a_second_release_in_the_namespace_is_refused(installation: Installation) -> None:
    taken = f"release {installation.release.name} is in the namespace {installation.namespace}"
    with pytest.raises(ToolError, match=taken):
        Release(installation.namespace, "other").install({"nameOverride": "another"})


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
