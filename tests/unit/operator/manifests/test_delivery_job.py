"""The Job that is one attempt at a delivery."""

import json
from datetime import timedelta
from typing import Any

import builders
import pytest
from backupexport_contract import runner_protocol, timestamps
from backupexport_contract.backup_export import ArtifactStatus, BackupExport
from backupexport_contract.deliveries import Deliveries
from backupexport_contract.kubernetes_model import Condition
from backupexport_operator.manifests.jobs import delivery_manifest
from backupexport_operator.manifests.pod import JobSettings
from backupexport_operator.observed.observation import Observation
from kubernetes.client import V1Job
from pydantic import ValidationError

EXPORT = builders.export(
    "0b7c7c5e-0a4f-4a54-9a39-0c4e6f4b7a11",
    {"projectId": "p-1", "notifyEmail": "a@b.example"},
    {
        "phase": "Failed",
        "reason": "StorageFull",
        "message": "Costs $(HOME) and $$.",
        "completionTime": "2026-01-29T15:30:00.000Z",
    },
    uid="u1",
    creationTimestamp="2026-01-29T15:00:00Z",
)
DEFAULTS = JobSettings(
    namespace="n", runner_image="i", storages=builders.STORAGES, ttl_seconds_after_finished=77
)
SETTINGS = Deliveries.model_validate(
    {
        "email": {
            "host": "mail",
            "from": "exports@example.com",
            "secretRef": {"name": "login"},
            "giveUpSeconds": 9999,
            "allowedDomains": ["b.example"],
        },
        "telegram": {"secretRef": {"name": "bot"}, "giveUpSeconds": 9999},
    }
)


def seen(of: BackupExport = EXPORT, since_end: float = 1, **target: Any) -> Observation:
    served_by = builders.target("p-1", **target)
    now = timestamps.from_text("2026-01-29T15:30:00Z") + timedelta(seconds=since_end)
    return Observation(export=of, target=served_by, job=None, pods=(), now=now, backoff_limit=4)


def job(kind: str, **more: Any) -> dict[str, Any]:
    settings = SETTINGS.settings_of(kind)
    assert settings
    api = {"public_url": "https://exports.example.com", "downloads": frozenset({"default"})}
    return delivery_manifest(seen(**more), kind, settings, DEFAULTS.model_copy(update=api))


def container(manifest: dict[str, Any]) -> dict[str, Any]:
    (found,) = manifest["spec"]["template"]["spec"]["containers"]
    checked: dict[str, Any] = found
    return checked


def environment(manifest: dict[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in container(manifest)["env"]}


@pytest.mark.parametrize("kind", ["email", "telegram"])
def test_it_is_a_job_of_the_export(kind: str) -> None:
    manifest = job(kind)
    assert V1Job.model_validate(manifest)
    (owner,) = manifest["metadata"]["ownerReferences"]
    assert (owner["uid"], owner["controller"]) == ("u1", True)
    labels = manifest["spec"]["template"]["metadata"]["labels"]
    assert labels["backupexport.dev/task"] == f"deliver-{kind}"
    assert labels["backupexport.dev/export-uid"] == "u1"
    assert manifest["spec"]["backoffLimit"] == 0
    # Longer than the longest pause between two attempts, whatever the chart says.
    assert manifest["spec"]["ttlSecondsAfterFinished"] == 7200
    assert manifest["metadata"]["name"] == f"deliver-{kind}-bex-{EXPORT.metadata.name}"


@pytest.mark.parametrize(("kind", "secret"), [("email", "login"), ("telegram", "bot")])
def test_it_gets_its_own_secret_and_no_other(kind: str, secret: str) -> None:
    manifest = job(kind)
    (volume,) = [v for v in manifest["spec"]["template"]["spec"]["volumes"] if "projected" in v]
    keys = {"email": ["username", "password"], "telegram": ["token", "chat_id"]}[kind]
    items = [{"key": key, "path": key} for key in keys]
    source = {"secret": {"name": secret, "items": items, "optional": True}}
    assert volume["projected"] == {"defaultMode": 0o440, "sources": [source]}
    assert {"name": "secret", "mountPath": "/secret", "readOnly": True} in container(manifest)[
        "volumeMounts"
    ]


def test_a_mail_without_a_login_gets_no_secret() -> None:
    settings = Deliveries.model_validate(
        {"email": {"host": "mail", "from": "e@example.com"}}
    ).settings_of("email")
    assert settings
    manifest = delivery_manifest(seen(), "email", settings, DEFAULTS)
    assert "envFrom" not in container(manifest)
    volumes = manifest["spec"]["template"]["spec"]["volumes"]
    assert [volume["name"] for volume in volumes] == ["scratch"]


@pytest.mark.parametrize(("kind", "expected"), [("email", False), ("telegram", True)])
def test_only_what_needs_the_file_sees_the_volume(kind: str, expected: bool) -> None:
    manifest = job(kind)
    volumes = [volume["name"] for volume in manifest["spec"]["template"]["spec"]["volumes"]]
    mounts = {mount["name"]: mount for mount in container(manifest)["volumeMounts"]}
    assert ("exports" in volumes) == ("exports" in mounts) == expected
    if expected:
        assert mounts["exports"]["subPath"] == EXPORT.spec.project_id


@pytest.mark.parametrize(
    ("kind", "since_end", "seconds"),
    [
        ("email", 0, 2400),
        ("email", 9000, 999),
        ("telegram", 0, 9999),
        ("telegram", 9000, 999),
        ("telegram", 90000, 60),
    ],
)
def test_an_attempt_ends_with_the_time_to_give_up(
    kind: str, since_end: float, seconds: int
) -> None:
    assert job(kind, since_end=since_end)["spec"]["activeDeadlineSeconds"] == seconds


def delivering(reason: str, since: str) -> BackupExport:
    """The export with a delivery that is still to be made."""
    told = {
        "type": "Delivered", "status": "Unknown", "reason": reason, "message": "Soon.",
        "lastTransitionTime": since,
    }  # fmt: skip
    status = EXPORT.status.model_copy(update={"conditions": [Condition.model_validate(told)]})
    return EXPORT.model_copy(update={"status": status})


def test_the_first_attempt_is_a_whole_one_however_late() -> None:
    late = delivering("Pending", "2026-01-29T15:30:00Z")
    assert job("telegram", of=late, since_end=90000)["spec"]["activeDeadlineSeconds"] == 9999


def test_the_time_to_give_up_is_no_nodes() -> None:
    """The condition says when the export ended; its node's clock was ahead of that."""
    ahead = delivering("ConnectionFailed", "2026-01-29T14:30:00Z")
    assert job("telegram", of=ahead, since_end=0)["spec"]["activeDeadlineSeconds"] == 6399


def test_the_projects_queue_is_the_deliverys_too() -> None:
    assert "kueue.x-k8s.io/queue-name" not in job("email")["metadata"]["labels"]
    labels = job("email", queueName="team")["metadata"]["labels"]
    assert labels["kueue.x-k8s.io/queue-name"] == "team"


def test_the_runner_is_told_how_the_export_ended() -> None:
    text = environment(job("email"))[runner_protocol.ENV_EXPORT_END]
    # The kubelet makes $ of $$ and would put a variable's value in for $(NAME).
    assert "$(" not in text.replace("$$(", "")
    end = runner_protocol.read_export_end(text.replace("$$", "$"))
    assert end == runner_protocol.ExportEnd(
        phase="Failed",
        reason="StorageFull",
        message="Costs $(HOME) and $$.",
        completed_at="2026-01-29T15:30:00.000Z",
        notify_email="a@b.example",
        api_url="https://exports.example.com",
        has_downloads=True,
    )


def test_the_address_goes_with_the_mail_alone() -> None:
    text = environment(job("telegram"))[runner_protocol.ENV_EXPORT_END]
    assert "a@b.example" not in text


def test_the_runner_gets_the_settings_of_its_kind() -> None:
    settings = json.loads(environment(job("email"))[runner_protocol.ENV_DELIVERY_SETTINGS])
    assert settings == {
        "host": "mail",
        "tls": "starttls",
        "from": "exports@example.com",
        "secretRef": {"name": "login"},
    }
    settings = json.loads(environment(job("telegram"))[runner_protocol.ENV_DELIVERY_SETTINGS])
    assert settings == {
        "apiUrl": "https://api.telegram.org",
        "partBytes": 50_000_000,
        "secretRef": {"name": "bot"},
    }


def test_the_artifact_comes_with_it() -> None:
    status = {"phase": "Succeeded", "artifact": builders.ARTIFACT_STATUS}
    of = BackupExport.model_validate(
        EXPORT.model_dump(by_alias=True, exclude_none=True) | {"status": status}
    )
    text = environment(job("telegram", of=of))[runner_protocol.ENV_EXPORT_END]
    end = runner_protocol.read_export_end(text)
    assert end
    assert end.artifact == builders.ARTIFACT


@pytest.mark.parametrize(
    "wrong",
    [
        {"email": {"host": "mail"}},
        {"email": {"from": "e@example.com"}},
        {"email": {"host": "m", "from": "e@e.example", "tls": "none", "secretRef": {"name": "x"}}},
        {"telegram": {}},
        {"telegram": {"secretRef": {"name": "x"}, "apiUrl": "ftp://x"}},
    ],
)
def test_an_enabled_kind_is_whole(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Deliveries.model_validate(wrong)


def test_a_kind_that_is_turned_off_needs_nothing() -> None:
    off = {"enabled": False}
    assert Deliveries.model_validate({"email": off, "telegram": off})


@pytest.mark.parametrize("allowed", [None, ["other.example"]])
def test_what_servers_said_goes_to_named_domains_alone(allowed: list[str] | None) -> None:
    settings = SETTINGS.settings_of("email")
    assert settings
    settings = settings.model_copy(update={"allowed_domains": allowed})
    said = {"reason": "DumpFailed", "message": "pg_dump failed (ERROR: buy at evil.example)."}
    for reason, is_told in (("DumpFailed", False), ("TargetNotFound", True), ("Cancelled", True)):
        status = EXPORT.status.model_copy(update=said | {"reason": reason})
        export = EXPORT.model_copy(update={"status": status})
        manifest = delivery_manifest(seen(export), "email", settings, DEFAULTS)
        text = environment(manifest)[runner_protocol.ENV_EXPORT_END]
        assert ("evil.example" in text) == is_told
        end = runner_protocol.read_export_end(text)
        assert end
        assert end.reason == reason
        assert end.message


@pytest.mark.parametrize(
    ("allowed", "words"),
    [
        (["b.example"], "Definitions only; not tables secret"),
        (None, "Not all of the database; over REST and on the web page the job says what"),
    ],
)
def test_what_was_chosen_is_named_to_named_domains_alone(
    allowed: list[str] | None, words: str
) -> None:
    settings = SETTINGS.settings_of("email")
    assert settings
    settings = settings.model_copy(update={"allowed_domains": allowed})
    chosen = {"content": "schema", "exclude_tables": ("secret",)}
    export = EXPORT.model_copy(update={"spec": EXPORT.spec.model_copy(update=chosen)})
    manifest = delivery_manifest(seen(export), "email", settings, DEFAULTS)
    end = runner_protocol.read_export_end(environment(manifest)[runner_protocol.ENV_EXPORT_END])
    assert end
    assert end.contents == words


@pytest.mark.parametrize("claim", [None, "exports-before"])
def test_the_file_is_read_where_it_was_written(claim: str | None) -> None:
    status = {"phase": "Succeeded", "artifact": builders.ARTIFACT_STATUS | {"claim": claim}}
    pod = job("telegram", of=builders.export(status=status))["spec"]["template"]["spec"]
    (volume,) = [volume for volume in pod["volumes"] if volume["name"] == "exports"]
    assert volume["persistentVolumeClaim"] == {"claimName": claim or "c"}


def test_a_mail_tells_of_downloads_where_the_api_has_the_file() -> None:
    artifact = {
        "path": "p", "sizeBytes": 1, "uncompressedBytes": 2, "sha256": "ab",
        "serverVersion": "17.5", "dumpVersion": "17.6", "displaySize": "1 B",
        "storage": "elsewhere", "url": "s3://elsewhere/p",
    }  # fmt: skip
    status = EXPORT.status.model_copy(update={"artifact": ArtifactStatus.model_validate(artifact)})
    elsewhere = EXPORT.model_copy(update={"status": status})
    text = environment(job("email", of=elsewhere))[runner_protocol.ENV_EXPORT_END]
    end = runner_protocol.read_export_end(text.replace("$$", "$"))
    assert end
    assert not end.has_downloads
