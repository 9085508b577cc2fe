"""A Secret's values never travel, and what is wrong with one is told."""

import base64
import json
import secrets
from typing import Any

import pytest
from certificate_authority import Authority
from failing_exports import (
    MODEST,
    Attempted,
    assert_explained,
    assert_failed_at_once,
    begin,
    begin_again,
)
from installation import Installation
from playground.targets import API_VERSION, make_target, read_export
from playground.tools import ToolError, apply, get, kubectl, wait_for

pytestmark = pytest.mark.cluster


def _put(namespace: str, project_id: str, key: str, value: bytes) -> None:
    """Put bytes under a key of the Secret of a project's target."""
    patch = json.dumps({"data": {key: base64.b64encode(value).decode()}})
    secret = "target-" + "".join(c for c in project_id if c.isalnum())
    kubectl("-n", namespace, "patch", "secret", secret, "--type=merge", "-p", patch)


def test_a_binary_key_is_refused_by_name_and_does_no_harm_where_nobody_needs_it(
    installation: Installation, connection: dict[str, str]
) -> None:
    namespace = installation.namespace
    make_target(namespace, "binary", connection, resources=MODEST)
    _put(namespace, "binary", "keystore.jks", bytes(range(256)))
    assert begin_again(namespace, "binary", connection).ended()["phase"] == "Succeeded"
    _put(namespace, "binary", "username", b"\xff\xfe\x00")
    export = begin_again(namespace, "binary", connection)
    assert_failed_at_once(export, "SecretInvalid", "the key username", "no text in UTF-8")


def test_a_missing_secret_is_told_and_the_export_goes_on_when_it_comes(
    installation: Installation, connection: dict[str, str]
) -> None:
    namespace = installation.namespace
    make_target(namespace, "later", connection, resources=MODEST)
    kubectl("-n", namespace, "delete", "secret", "target-later")
    export = begin_again(namespace, "later", connection)
    status = export.told("SecretInvalid")
    assert status["phase"] == "Pending"
    assert_explained(export, status, "target-later", "create it")
    assert status.get("attempts", 0) == 0
    make_target(namespace, "later", connection, resources=MODEST)
    assert export.ended(600)["phase"] == "Succeeded"


def test_no_value_of_a_secret_is_told_whatever_its_key(
    installation: Installation, connection: dict[str, str]
) -> None:
    """`spec.keys` can name any key: what is no host, user or database is a secret."""
    namespace = installation.namespace
    # As long as the chart's own: longer than the server's names, which it cuts at 63 bytes.
    signing = secrets.token_hex(32)
    values = connection | {"signing-secret": signing, "short": "k3y"}
    exports = {
        key: begin(namespace, f"as-{key}", values, {"keys": {key: "signing-secret"}})
        for key in ("host", "username", "database", "port", "sslmode")
    }
    exports["short"] = begin(namespace, "as-short", values, {"keys": {"database": "short"}})
    for key, export in exports.items():
        status = export.ended()
        assert status["phase"] == "Failed", (key, status)
        told = json.dumps([read_export(namespace, export.name), export.pods()])
        told += kubectl("-n", namespace, "logs", f"job/{export.job_name}", "--tail=-1")
        told += kubectl("-n", namespace, "describe", "bex", export.name)
        assert signing[:16] not in told, key
        assert "k3y" not in told, key
    assert exports["host"].status()["reason"] == "SecretInvalid"
    assert "neither a host name" in exports["host"].status()["message"]
    assert exports["short"].status()["reason"] == "DatabaseNotFound"


def test_a_target_that_names_the_installations_own_secret_is_refused(
    installation: Installation, connection: dict[str, str]
) -> None:
    namespace = installation.namespace
    found = get("-n", namespace, "secrets", "-l", "app.kubernetes.io/managed-by=Helm")["items"]
    own = next(s for s in found if s["metadata"]["name"].endswith("-jwt"))
    (value,) = (base64.b64decode(v).decode() for v in own["data"].values())
    (key,) = own["data"]
    name = own["metadata"]["name"]
    apply(
        {
            "apiVersion": API_VERSION,
            "kind": "ExportTarget",
            "metadata": {"name": "robber", "namespace": namespace},
            "spec": {"projectId": "robber", "secretRef": {"name": name}, "keys": {"host": key}},
        }
    )
    export: Attempted = begin_again(namespace, "robber", {"password": value})
    status = export.ended()
    assert (status["phase"], status["reason"]) == ("Failed", "SecretInvalid")
    assert_explained(export, status, name, "name another one")
    assert export.pods() == []
    ready = wait_for(
        lambda: get("-n", namespace, "ext", "robber").get("status", {}).get("conditions"),
        "the Ready condition", 120,
    )[0]  # fmt: skip
    assert (ready["status"], ready["reason"]) == ("False", "SecretInvalid")


def test_a_clouds_whole_bundle_of_authorities_is_taken(
    installation: Installation, connection: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("authorities")
    one = Authority(directory).pem
    bundle = one * (170_000 // len(one) + 1)
    values = connection | {"sslrootcert": bundle}
    export = begin(installation.namespace, "bundle", values, {"sslmode": "prefer"})
    assert export.ended()["phase"] == "Succeeded", export.status()


def test_who_may_not_read_a_secret_cannot_name_it_in_a_target(
    installation: Installation, connection: dict[str, str]
) -> None:
    namespace = installation.namespace
    make_target(namespace, "guarded", connection, resources=MODEST)
    account = f"system:serviceaccount:{namespace}:target-writer"
    apply(
        {"apiVersion": "v1", "kind": "ServiceAccount",
         "metadata": {"name": "target-writer", "namespace": namespace}},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
         "metadata": {"name": "target-writer", "namespace": namespace},
         "rules": [
             {"apiGroups": ["backupexport.dev"], "resources": ["exporttargets"],
              "verbs": ["get", "create", "patch", "update"]},
             {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["its-own"],
              "verbs": ["get"]},
         ]},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
         "metadata": {"name": "target-writer", "namespace": namespace},
         "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role",
                     "name": "target-writer"},
         "subjects": [{"kind": "ServiceAccount", "name": "target-writer",
                       "namespace": namespace}]},
    )  # fmt: skip

    def write(secret: str, **spec: Any) -> str:
        """What kubectl says when that account makes a target."""
        target = {
            "apiVersion": API_VERSION,
            "kind": "ExportTarget",
            "metadata": {"generateName": "written-", "namespace": namespace},
            "spec": {"projectId": "written", "secretRef": {"name": secret}, **spec},
        }
        try:
            return kubectl(
                "-n", namespace, "--as", account, "create", "-f", "-", stdin=json.dumps(target)
            )
        except ToolError as error:
            return str(error)

    def change(**spec: Any) -> str:
        patch = json.dumps({"spec": spec})
        try:
            return kubectl(
                "-n", namespace, "--as", account, "patch", "ext", "target-guarded",
                "--type=merge", "-p", patch,
            )  # fmt: skip
        except ToolError as error:
            return str(error)

    refusal = "has to be allowed to get that Secret"
    assert "created" in write("its-own")
    assert refusal in write("target-guarded")
    bot = {"telegram": {"secretRef": {"name": "target-guarded"}}}
    assert refusal in write("its-own", deliveries=bot)
    assert "patched" in change(suspend=True)
    assert refusal in change(connection={"host": "elsewhere.example"})
    assert refusal in change(secretRef={"name": "another"})
    assert "patched" in change(secretRef={"name": "its-own"})
