"""Exports that only the owners of private keys can read, with Debian's age and real servers."""

import base64
import hashlib
import json
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from age_keys import MISTYPED, age_key, decrypted, ssh_key
from backupexport_contract.restore_commands import file_name
from backupexport_runtime.recipients import fingerprint
from failing_exports import begin, begin_again, files_of, small_connection
from installation import Installation
from playground.targets import make_target
from playground.tools import ToolError, get, kubectl, wait_for

pytestmark = pytest.mark.cluster

_DATABASE, _RESTORED = "encrypted_parts", "encrypted_restored"
_TABLE = """
CREATE TABLE parts (id int PRIMARY KEY, name text NOT NULL);
INSERT INTO parts SELECT i, md5(i::text) FROM generate_series(1, 50000) AS i;
"""
_CONTENT = "SELECT count(*), md5(string_agg(name, ',' ORDER BY id)) FROM parts"
_MAGIC = b"age-encryption.org/v1\n"
_PROJECT = "encrypted"
_KINDS = (
    "backupexports", "exporttargets", "jobs", "pods", "deployments", "secrets", "configmaps",
    "events",
)  # fmt: skip


@dataclass(frozen=True)
class Keys:
    """A person with an identity of age, and one with a key of ssh: files and recipients."""

    age: Path
    age_recipient: str
    ssh: Path
    ssh_recipient: str

    @property
    def fingerprints(self) -> list[str]:
        return [fingerprint(self.age_recipient), fingerprint(self.ssh_recipient)]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    directory = tmp_path_factory.mktemp("keys")
    return Keys(*age_key(directory), *ssh_key(directory, "ed25519"))


@pytest.fixture(scope="module")
def project(installation: Installation, keys: Keys) -> Iterator[str]:
    """A project whose exports are encrypted to the identity of age."""
    server = installation.server
    server.psql(f"CREATE DATABASE {_DATABASE}", "postgres")
    server.psql(_TABLE, _DATABASE)
    reader = small_connection(installation)
    server.psql(f'GRANT SELECT ON parts TO "{reader["username"]}"', _DATABASE)
    encryption = {"recipients": [keys.age_recipient], "required": True}
    connection = {**reader, "database": _DATABASE}
    make_target(installation.namespace, _PROJECT, connection, encryption=encryption)
    yield _PROJECT
    for database in (_DATABASE, _RESTORED):
        server.psql(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)", "postgres")


@pytest.mark.parametrize("fields", [
    {"format": "sql"},
    {"format": "tar", "compression": "gzip"},
    {"format": "custom"},
    {"format": "sql", "compress": False},
], ids=str)  # fmt: skip
def test_an_export_goes_back_with_each_of_its_keys(
    installation: Installation, project: str, keys: Keys, fields: dict[str, Any], tmp_path: Path
) -> None:
    api = installation.caller(project)
    asked = api.export(project_id=project, encrypt_to=[keys.ssh_recipient], **fields)
    assert asked.status == 202, asked
    job = api.finished(asked.body["data"]["job_id"])
    assert job["status"] == "completed", job
    artifact = job["artifact"]
    assert artifact["path"].endswith(".age")
    assert artifact["encrypted_to"] == keys.fingerprints

    link = api.link(job["job_id"], 300)
    with urllib.request.urlopen(link, timeout=60) as answer:
        assert answer.headers["Content-Type"] == "application/octet-stream"
        content = answer.read()
    assert hashlib.sha256(content).hexdigest() == artifact["sha256"]
    assert content.startswith(_MAGIC)
    plain = decrypted(keys.age, content)
    assert decrypted(keys.ssh, content) == plain
    assert len(plain) < len(content)
    with pytest.raises(subprocess.CalledProcessError):
        decrypted(ssh_key(tmp_path, "ed25519")[0], content)
    told = json.loads(installation.volume.text(f"{artifact['path']}.json"))
    assert told["encrypted_to"] == keys.fingerprints
    assert told["restore_command"] == artifact["restore_command"]

    for identity in (keys.age, keys.ssh):
        _type_command(installation, artifact, identity)
        restored = installation.server.psql(_CONTENT, _RESTORED)
        assert restored == installation.server.psql(_CONTENT, _DATABASE)


def _type_command(installation: Installation, artifact: dict[str, Any], identity: Path) -> None:
    """Restore the file by the printed command, where psql, pg_restore and stock age are."""
    server, volume, path = installation.server, installation.volume, artifact["path"]
    server.psql(f"DROP DATABASE IF EXISTS {_RESTORED} WITH (FORCE)", "postgres")
    server.psql(f"CREATE DATABASE {_RESTORED} TEMPLATE template0", "postgres")
    volume.run("bash", "-c", "rm -rf /scratch/*")
    for name, file in (("age", Path(str(shutil.which("age")))), ("KEY", identity)):
        text = base64.b64encode(file.read_bytes()).decode()
        taken = f"base64 -d > /scratch/{name}; chmod 0500 /scratch/{name}"
        volume.run("bash", "-c", taken, stdin=text)
    command = artifact["restore_command"].replace("DATABASE", _RESTORED)
    try:
        volume.run(
            "bash", "-c",
            f"set -e; cp '{path}' '/scratch/{file_name(path)}'; cd /scratch\n"
            f"{artifact['check_command']}\nPATH=/scratch:$PATH\n{command}",
            timeout=300,
        )  # fmt: skip
    finally:
        volume.run("bash", "-c", "rm -rf /scratch/*")


def test_an_export_without_a_recipient_is_refused_where_one_is_wanted(
    installation: Installation,
) -> None:
    project, namespace = "encrypted-always", installation.namespace
    connection = small_connection(installation)
    make_target(namespace, project, connection, encryption={"required": True})
    wait_for(lambda: _ready(installation, project) == "Serving", "the target", 120)
    api = installation.caller(project)
    answer = wait_for(
        lambda: it if (it := api.export(project_id=project)).status == 400 else None,
        "the refusal by REST",
        120,
        every=1,
    )
    assert [(it["field"], it["code"]) for it in answer.body["errors"]] == [
        ("encrypt_to", "recipient_required")
    ]
    status = begin_again(namespace, project, connection).ended()
    assert (status["phase"], status["reason"]) == ("Failed", "EncryptionRequired"), status
    assert "encryptTo" in status["message"]
    assert files_of(installation, project) == []


def test_recipients_that_are_none_are_refused(installation: Installation) -> None:
    namespace, connection = installation.namespace, small_connection(installation)
    project = "encrypted-badly"
    with pytest.raises(ToolError, match="must be a recipient of age"):
        begin(namespace, project, connection, encryptTo=["CANARY"])
    status = begin_again(namespace, project, connection, encryptTo=[MISTYPED]).ended()
    assert (status["phase"], status["reason"]) == ("Failed", "RecipientInvalid"), status
    answer = installation.caller(project).export(project_id=project, encrypt_to=[MISTYPED])
    assert [it["code"] for it in answer.body["errors"]] == ["recipient_invalid"]

    make_target(namespace, project, connection, encryption={"recipients": [MISTYPED]})
    wait_for(lambda: _ready(installation, project) == "RecipientInvalid", "the condition", 120)
    status = begin_again(namespace, project, connection).ended()
    assert (status["phase"], status["reason"]) == ("Failed", "RecipientInvalid"), status
    assert files_of(installation, project) == []


def test_no_identity_is_in_the_cluster(
    installation: Installation, project: str, keys: Keys
) -> None:
    namespace = installation.namespace
    export = begin_again(namespace, project, {}, encryptTo=[keys.ssh_recipient])
    assert export.ended()["phase"] == "Succeeded"
    objects = [get("-n", namespace, kind) for kind in _KINDS]
    logs = [
        kubectl("-n", namespace, "logs", pod, "--all-containers", "--ignore-errors")
        for pod in kubectl("-n", namespace, "get", "pods", "-o", "name").split()
    ]
    known = json.dumps(objects) + "".join(logs)
    secret = [
        line
        for file in (keys.age, keys.ssh)
        for line in file.read_text().splitlines()
        if line and not line.startswith(("#", "-----"))
    ]
    assert len(secret) > 3
    # Those of the Secrets are in base64.
    spelled = [*secret, *(base64.b64encode(line.encode()).decode()[:-4] for line in secret)]
    assert not [line for line in spelled if line in known]
    assert keys.age_recipient in known


def _ready(installation: Installation, project: str) -> str | None:
    """The reason of the Ready condition that tells of the target as it is now."""
    name = "target-" + project.replace("-", "")
    target = get("-n", installation.namespace, "exporttarget", name)
    for condition in target.get("status", {}).get("conditions", []):
        is_now = condition.get("observedGeneration") == target["metadata"]["generation"]
        if condition["type"] == "Ready" and is_now:
            return str(condition["reason"])
    return None
