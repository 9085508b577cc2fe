"""What can't start says why while it is Pending, and starts by itself when it can."""

import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from failing_exports import (
    MODEST,
    Attempted,
    assert_explained,
    assert_failed_at_once,
    assert_tried_again_and_failed,
    begin,
)
from installation import Installation
from playground.release import Release
from playground.targets import export_manifest, make_target
from playground.tools import apply, kubectl, make_namespace

pytestmark = pytest.mark.cluster

# pg_dump holds a whole row, as text: 120 MB.
_WIDE_ROW = "CREATE TABLE wide AS SELECT decode(repeat('00', 60000000), 'hex') AS data"


@pytest.fixture(scope="module")
def attempted(installation: Installation, connection: dict[str, str]) -> dict[str, Attempted]:
    """Exports that can't start or not go on, all begun at once."""
    namespace = installation.namespace
    installation.server.psql("CREATE DATABASE wide")
    installation.server.psql(_WIDE_ROW, "wide")

    def without(key: str) -> dict[str, str]:
        return {name: value for name, value in connection.items() if name != key}

    def start(name: str, with_: dict[str, str], **target: Any) -> Attempted:
        return begin(namespace, name, with_, target)

    huge = {"requests": {"cpu": "1000"}, "limits": {"cpu": "1000"}}
    tiny = {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "16Mi"}}
    narrow = {"requests": {"cpu": "10m", "memory": "96Mi"}, "limits": {"memory": "96Mi"}}
    return {
        "without-host": start("without-host", without("host")),
        "without-password": start("without-password", {**connection, "password": ""}),
        "without-username": start("without-username", without("username")),
        "strange-port": start("strange-port", {**connection, "port": "five"}),
        "strange-keys": start("strange-keys", connection, keys={"password": "not-in-it"}),
        "too-large": start("too-large", connection, resources=huge),
        "too-small": start("too-small", connection, resources=tiny),
        "too-wide": start("too-wide", {**connection, "database": "wide"}, resources=narrow),
        "held-back": start("held-back", connection, suspend=True),
    }


def test_a_secret_without_a_key_fails_at_once_and_names_the_key(
    attempted: dict[str, Attempted],
) -> None:
    for name, key in (("without-host", "host"), ("without-username", "username")):
        assert_failed_at_once(attempted[name], "SecretInvalid", rf"\b{key}\b")
    assert_failed_at_once(attempted["strange-port"], "SecretInvalid", r"\bport\b")


def test_a_secret_without_a_password_fails_at_once(attempted: dict[str, Attempted]) -> None:
    status = attempted["without-password"].ended()
    assert (status["phase"], status["reason"]) == ("Failed", "SecretInvalid"), status
    assert "add the key password" in status["message"]
    assert (status["attempts"], len(attempted["without-password"].pods())) == (1, 1)


def test_a_key_that_the_secret_lacks_is_told_while_pending_and_heals(
    installation: Installation, attempted: dict[str, Attempted], connection: dict[str, str]
) -> None:
    export = attempted["strange-keys"]
    status = export.told("SecretInvalid")
    assert status["phase"] == "Pending"
    assert_explained(export, status, "not-in-it")
    assert status.get("attempts", 0) == 0
    kubectl(
        "-n", installation.namespace, "patch", "secret", "target-strangekeys", "--type=merge",
        "-p", f'{{"stringData":{{"not-in-it":"{connection["password"]}"}}}}',
    )  # fmt: skip
    assert export.ended()["phase"] == "Succeeded"


def test_a_pod_that_no_node_can_take_is_told_while_pending(
    attempted: dict[str, Attempted],
) -> None:
    export = attempted["too-large"]
    status = export.told("Unschedulable")
    assert status["phase"] == "Pending"
    assert_explained(export, status, "Insufficient cpu", "lower the resources")
    export.cancel()
    status = export.ended()
    assert (status["phase"], status["reason"]) == ("Cancelled", "Cancelled")


@pytest.mark.parametrize(
    ("name", "reasons"),
    [
        # For the runner itself.  The node sometimes misses why the kernel killed it.
        ("too-small", ("OutOfMemory", "Internal")),
        # For its pg_dump, which the kernel then kills.
        ("too-wide", ("OutOfMemory",)),
    ],
)
def test_too_little_memory_is_told(
    attempted: dict[str, Attempted], name: str, reasons: tuple[str, ...]
) -> None:
    reason = attempted[name].ended()["reason"]
    assert reason in reasons
    assert_tried_again_and_failed(
        attempted[name], reason, r"raise resources\.limits\.memory on the ExportTarget"
    )


def test_an_export_that_waits_goes_on_when_its_target_is_deleted_and_made_again(
    installation: Installation, attempted: dict[str, Attempted], connection: dict[str, str]
) -> None:
    export = attempted["held-back"]
    status = export.told("TargetSuspended")
    assert status["phase"] == "Pending"
    assert_explained(export, status, r"spec\.suspend")
    assert export.pods() == []
    kubectl("-n", installation.namespace, "delete", "ext", "target-heldback")
    status = export.told("TargetNotFound")
    assert status["phase"] == "Pending"
    assert_explained(export, status, "held-back", "create it again")
    make_target(installation.namespace, "held-back", connection, resources=MODEST)
    assert export.ended()["phase"] == "Succeeded"


def test_an_export_that_waits_can_be_cancelled(
    installation: Installation, connection: dict[str, str]
) -> None:
    export = begin(installation.namespace, "never-begun", connection, {"suspend": True})
    export.told("TargetSuspended")
    export.cancel()
    assert export.ended()["phase"] == "Cancelled"
    assert export.has_event("Normal", "Cancelled")
    assert export.pods() == []


def test_a_job_of_this_name_that_belongs_to_another_is_told_while_pending(
    installation: Installation, connection: dict[str, str]
) -> None:
    namespace, name = installation.namespace, f"taken-{secrets.token_hex(3)}"
    make_target(namespace, "taken", connection, resources=MODEST)
    apply(_suspended_job(namespace, f"bex-{name}"))
    apply(export_manifest(namespace, name, projectId="taken"))
    export = Attempted(namespace, "taken", name, connection["password"])
    status = export.told("Internal")
    assert status["phase"] == "Pending"
    assert_explained(export, status, "delete that Job")
    kubectl("-n", namespace, "delete", "job", f"bex-{name}")
    assert export.ended()["phase"] == "Succeeded"


def _suspended_job(namespace: str, name: str) -> dict[str, Any]:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "suspend": True,
            "template": {
                "spec": {
                    "restartPolicy": "Never",
                    "containers": [{"name": "other", "image": "other"}],
                }
            },
        },
    }


@pytest.fixture(scope="module")
def crippled() -> Iterator[Release]:
    """A release whose runner's image can't be pulled and whose volume isn't there yet."""
    namespace = f"backupexport-test-{secrets.token_hex(3)}"
    make_namespace(namespace)
    try:
        release = Release(namespace)
        release.install(
            {
                # It could not start without the volume either.
                "api": {"replicas": 1, "downloads": {"enabled": False}},
                "operator": {"replicas": 1},
                # Nothing listens there, and no name has to be looked up.
                "runner": {"image": {"repository": "127.0.0.1:9/nobody/runner", "tag": "none"}},
                "storage": {"existingClaim": "not-yet"},
            }
        )
        yield release
    finally:
        kubectl("delete", "namespace", namespace, "--wait=false")


def test_each_hurdle_before_the_start_is_told_in_its_turn(
    crippled: Release, connection: dict[str, str]
) -> None:
    namespace = crippled.namespace
    export = begin(namespace, "hurdles", connection)
    status = export.told("StorageUnwritable")
    assert status["phase"] == "Pending"
    assert_explained(export, status, "not-yet", "claim")
    apply(_claim(namespace, "not-yet"))
    status = export.told("ImageUnavailable")
    assert status["phase"] == "Pending"
    assert_explained(export, status, "127.0.0.1:9/nobody/runner", r"runner\.image")
    assert status.get("attempts", 0) == 0
    export.cancel()
    assert export.ended()["phase"] == "Cancelled"


def _claim(namespace: str, name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
