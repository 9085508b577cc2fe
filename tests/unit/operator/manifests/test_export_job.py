"""The Job is a pure function of the export, its target and the chart's settings."""

import json
from typing import Any

import builders
import pytest
from age_keys import AGE, SSH
from backupexport_contract.reasons import ExitCode
from backupexport_contract.runner_protocol import SECRET_KEYS, from_pieces
from backupexport_operator.manifests.jobs import job_manifest
from backupexport_operator.manifests.pod import JobSettings, RunnerPods
from backupexport_operator.manifests.storage_access import Spool
from backupexport_operator.observed.jobs_and_pods import observed_job
from backupexport_operator.observed.places import Place
from kubernetes.aio import client

RESOURCES: dict[str, Any] = {"limits": {}}
DEFAULTS = JobSettings(
    namespace="n",
    runner_image="runner:1",
    storages=builders.STORAGES,
    runner_pods=RunnerPods(
        all={"spec": {"containers": [{"name": "runner", "resources": RESOURCES}]}}
    ),
)
HOSTILE = "$(EXPORT_JOB_ID)`id`\n$HOME"


def manifest(
    spec: dict[str, Any] | None = None,
    target: dict[str, Any] | None = None,
    defaults: JobSettings = DEFAULTS,
    place: Place = builders.PLACE,
) -> dict[str, Any]:
    export = builders.export(
        "0b7cbb51-7c4f-4f52-9b0e-3f6a2b1c9d8e", {"projectId": "--help", **(spec or {})}
    )
    serving = builders.target("--help", **{"secretRef": {"name": "db"}, **(target or {})})
    return job_manifest(export, serving, defaults, place)


def container(job: dict[str, Any]) -> dict[str, Any]:
    (only,) = job["spec"]["template"]["spec"]["containers"]
    return dict(only)


def environment(job: dict[str, Any]) -> dict[str, Any]:
    return {
        item["name"]: item.get("value", item.get("valueFrom")) for item in container(job)["env"]
    }


def test_the_kubernetes_client_knows_every_field() -> None:
    job = manifest({"storagePath": "a"}, {"keys": {"host": "h"}})
    read = client.V1Job.model_validate(job)
    assert read.model_dump(mode="json", by_alias=True, exclude_none=True) == job


def test_the_runner_gets_the_recipients_and_the_operator_reads_them_back() -> None:
    named = "$(EXPORT_JOB_ID) $HOME"
    spec = {"encryptTo": [f"{SSH} {named}", AGE]}
    job = manifest(spec, {"encryption": {"recipients": [AGE]}})
    values = environment(job)
    assert json.loads(values["EXPORT_RECIPIENTS"].replace("$$", "$")) == [f"{SSH} {named}", AGE]
    assert "$(" not in values["EXPORT_RECIPIENTS"].replace("$$", "")
    assert values["EXPORT_FILE_NAME"].endswith(".sql.zst.age")
    assert observed_job(job).recipients == (f"{SSH} {named}", AGE)
    assert "EXPORT_RECIPIENTS" not in environment(manifest())
    assert observed_job(manifest()).recipients == ()


def test_the_project_id_is_only_a_value() -> None:
    job = manifest()
    assert "command" not in container(job)
    assert "args" not in container(job)
    assert environment(job)["EXPORT_PROJECT_ID"] == "--help"
    labels = job["metadata"]["labels"]
    assert all(len(value) <= 63 and value[0].isalnum() for value in labels.values())


def test_only_the_projects_own_directory_is_mounted() -> None:
    mounts = [m for m in container(manifest())["volumeMounts"] if m["name"] == "exports"]
    assert [(m["mountPath"], m["subPath"]) for m in mounts] == [("/exports", "--help")]


def test_a_tar_export_spools_to_the_volume_where_there_is_room() -> None:
    mounts = {m["mountPath"]: m for m in container(manifest({"format": "tar"}))["volumeMounts"]}
    assert (mounts["/tmp"]["name"], mounts["/tmp"]["subPath"]) == ("exports", "--help/.spool")


def test_the_pod_is_restricted() -> None:
    pod = manifest()["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container(manifest())["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_the_owner_is_the_export() -> None:
    (owner,) = manifest()["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("BackupExport", "uid-1", True)
    assert owner["blockOwnerDeletion"] is True


def test_what_the_target_says_of_the_connection_comes_in_the_clear() -> None:
    connection = {"host": "db", "port": 1, "database": "d", "sslmode": "require"}
    target = {"connection": connection | {"targetSessionAttrs": "primary"}, "keys": {"host": "h"}}
    given = environment(manifest(target=target))
    assert {name: given[f"EXPORT_{name}"] for name in ("HOST", "PORT", "DATABASE", "SSLMODE")} == {
        "HOST": "db", "PORT": "1", "DATABASE": "d", "SSLMODE": "require",
    }  # fmt: skip
    assert given["EXPORT_TARGET_SESSION_ATTRS"] == "primary"
    assert "EXPORT_REQUIRE_VERIFIED_TLS" not in given
    files = secret_files(manifest(target=target))
    assert not {"host", "chosen/host", "port", "database", "dbname", "sslmode"} & files.keys()
    refusing = DEFAULTS.model_copy(update={"require_verified_tls": True})
    assert environment(manifest(defaults=refusing))["EXPORT_REQUIRE_VERIFIED_TLS"]


def test_a_clouds_whole_bundle_fits_into_the_environment() -> None:
    bundle = "é" * 170_000
    given = environment(manifest(target={"sslrootcert": bundle}))
    assert from_pieces("EXPORT_SSLROOTCERT", given) == bundle
    assert all(len(str(value).encode()) < 131_000 for value in given.values())


def test_the_kubelet_expands_nothing_in_a_value() -> None:
    job = manifest(target={"sslrootcert": HOSTILE})
    assert environment(job)["EXPORT_SSLROOTCERT"] == "$$(EXPORT_JOB_ID)`id`\n$$HOME"


def secret_files(job: dict[str, Any]) -> dict[str, str]:
    """The Secret's keys under the names of their files; `?` follows those that may be missing."""
    files: dict[str, str] = {}
    for volume in job["spec"]["template"]["spec"]["volumes"]:
        for source in volume.get("projected", {"sources": []})["sources"]:
            secret = source["secret"]
            assert secret["name"] == "db"
            # Else it were the whole Secret.
            assert secret["items"]
            end = "?" if secret.get("optional") else ""
            files |= {item["path"]: item["key"] + end for item in secret["items"]}
    return files


def test_only_the_keys_that_are_needed_come_and_as_files() -> None:
    job = manifest()
    keys = {key for keys in SECRET_KEYS.values() for key in keys}
    assert secret_files(job) == {key: f"{key}?" for key in keys}
    assert "envFrom" not in container(job)
    read = {e["name"]: e["valueFrom"] for e in container(job)["env"] if "valueFrom" in e}
    assert read == {"EXPORT_POD_NAME": {"fieldRef": {"fieldPath": "metadata.name"}}}
    mounts = {m["name"]: m for m in container(job)["volumeMounts"]}
    assert (mounts["secret"]["mountPath"], mounts["secret"]["readOnly"]) == ("/secret", True)


def test_a_key_that_the_target_names_comes_in_place_of_the_well_known_one() -> None:
    job = manifest(target={"keys": {"password": "pg-password", "host": "HOST"}})
    files = secret_files(job)
    assert (files["chosen/password"], files["chosen/host"]) == ("pg-password", "HOST")
    assert not {"password", "host"} & files.keys()
    assert files["username"] == "username?"


def test_what_the_target_says_itself_is_not_looked_for_in_the_secret() -> None:
    files = secret_files(
        manifest(target={"sslmode": "require", "sslrootcert": "x", "keys": {"sslmode": "mode"}})
    )
    assert not {"sslmode", "sslrootcert", "chosen/sslmode"} & files.keys()


def test_a_secret_whose_keys_all_have_other_names_comes_without_the_well_known_ones() -> None:
    keys = {part: f"my-{part}" for part in SECRET_KEYS}
    files = secret_files(manifest(target={"keys": keys}))
    assert files == {f"chosen/{part}": key for part, key in keys.items()}


@pytest.mark.parametrize(
    ("spec", "target", "expected"),
    [({}, {}, 21600), ({}, {"activeDeadlineSeconds": 60}, 60),
     ({"activeDeadlineSeconds": 30}, {"activeDeadlineSeconds": 60}, 30)],
)  # fmt: skip
def test_the_nearest_deadline_wins(spec: Any, target: Any, expected: int) -> None:
    assert manifest(spec, target)["spec"]["activeDeadlineSeconds"] == expected


@pytest.mark.parametrize(
    ("spec", "end"),
    [({}, ".sql.zst"), ({"compress": False}, ".sql"), ({"format": "tar"}, ".tar.zst"),
     ({"compression": "gzip"}, ".sql.gz")],
)  # fmt: skip
def test_the_file_name(spec: Any, end: str) -> None:
    name = environment(manifest(spec))["EXPORT_FILE_NAME"]
    assert name == f"20260129T153000Z-0b7cbb51-7c4f-4f52-9b0e-3f6a2b1c9d8e{end}"


def test_the_targets_resources_win() -> None:
    own = {"limits": {"memory": "1Gi", "cpu": "1"}}
    numeric = {"limits": {"memory": "1Gi", "cpu": 1}}
    assert container(manifest(target={"resources": numeric}))["resources"] == own
    assert container(manifest(target={"resources": own}))["resources"] == own
    assert container(manifest())["resources"] == RESOURCES


def test_fatal_exit_codes_fail_the_job_and_what_is_no_attempt_does_not_count() -> None:
    disrupted, not_yet, fail = manifest()["spec"]["podFailurePolicy"]["rules"]
    assert disrupted["onPodConditions"][0]["type"] == "DisruptionTarget"
    assert (disrupted["action"], not_yet["action"], fail["action"]) == (
        "Ignore",
        "Ignore",
        "FailJob",
    )
    assert not_yet["onExitCodes"]["values"] == [34, 35, 38]
    values = fail["onExitCodes"]["values"]
    assert values == sorted(values)
    assert not {0, int(ExitCode.STORAGE_FALTERING)} & set(values)
    assert {int(ExitCode.STORAGE_FULL), int(ExitCode.STORAGE_UNWRITABLE)} < set(values)


def test_the_same_input_makes_the_same_job() -> None:
    assert json.dumps(manifest()) == json.dumps(manifest())


@pytest.mark.parametrize(
    ("target", "most"), [({}, "500"), ({"maxBytes": 7}, "7"), ({"maxBytes": 9999}, "9999")]
)
def test_the_runner_gets_the_limits_of_its_room(target: dict[str, Any], most: str) -> None:
    limits = {"max_bytes": 500, "max_spool_bytes": 900, "storage_reserve": "5%"}
    given = environment(manifest(target=target, defaults=DEFAULTS.model_copy(update=limits)))
    assert given["EXPORT_MAX_BYTES"] == most
    assert given["EXPORT_RESERVE"] == "5%"
    assert given["EXPORT_MAX_SPOOL_BYTES"] == "900"
    assert "EXPORT_ROOM_BYTES" not in given
    unlimited = environment(manifest())
    assert not {"EXPORT_MAX_BYTES", "EXPORT_MAX_SPOOL_BYTES", "EXPORT_RESERVE"} & unlimited.keys()


IN_BUCKET = DEFAULTS.model_copy(
    update={"storages": {**builders.STORAGES, "bucket": builders.BUCKET}, "storage_reserve": "5%"}
)


def volumes(job: dict[str, Any]) -> dict[str, Any]:
    return {volume["name"]: volume for volume in job["spec"]["template"]["spec"]["volumes"]}


def mounts(job: dict[str, Any]) -> dict[str, str]:
    return {mount["mountPath"]: mount["name"] for mount in container(job)["volumeMounts"]}


def test_an_export_into_a_bucket_gets_its_settings_and_the_keys_of_its_secret_alone() -> None:
    job = manifest(defaults=IN_BUCKET, place=builders.BUCKET_PLACE)
    client.V1Job.model_validate(job)
    assert mounts(job) == {
        "/storage": "storage", "/run/backupexport": "scratch", "/secret": "secret",
    }  # fmt: skip
    (source,) = volumes(job)["storage"]["projected"]["sources"]
    assert source["secret"]["name"] == "b"
    # The kubelet gives what there is; the runner says what it misses.
    assert source["secret"]["optional"] is True
    assert [item["key"] for item in source["secret"]["items"]] == [
        "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
    ]  # fmt: skip
    told = json.loads(environment(job)["EXPORT_STORAGE"])
    assert told["name"] == "bucket"
    assert told["storage"]["s3"] == builders.BUCKET.to_manifest()["s3"]
    # A bucket has no room that could be kept free.
    assert "EXPORT_RESERVE" not in environment(job)
    assert job["metadata"]["annotations"] == {
        "backupexport.dev/storage": "bucket",
        "backupexport.dev/storage-root": "s3://exports/team",
    }


def test_a_job_notes_the_server_of_its_bucket() -> None:
    assert builders.BUCKET.s3 is not None
    endpoint = "https://minio.example.com"
    there = builders.BUCKET.s3.model_copy(update={"endpoint": endpoint})
    bucket = builders.BUCKET.model_copy(update={"s3": there})
    defaults = IN_BUCKET.model_copy(update={"storages": {"bucket": bucket}})
    place = Place("bucket", bucket.root, endpoint)
    job = manifest(defaults=defaults, place=place)
    assert job["metadata"]["annotations"]["backupexport.dev/storage-endpoint"] == endpoint
    observed = observed_job(job)
    assert observed.place == place


def test_the_pods_own_identity_needs_no_secret() -> None:
    without = builders.BUCKET.model_copy(update={"secret_ref": None})
    defaults = IN_BUCKET.model_copy(update={"storages": {"bucket": without}})
    job = manifest(defaults=defaults, place=builders.BUCKET_PLACE)
    assert "storage" not in volumes(job)


def test_the_name_of_a_volume_is_told_and_its_reserve() -> None:
    job = manifest(defaults=IN_BUCKET)
    told = json.loads(environment(job)["EXPORT_STORAGE"])
    assert (told["name"], told["storage"]["volume"]) == ("default", {"claim": "c"})
    assert environment(job)["EXPORT_RESERVE"] == "5%"


def test_a_bucket_that_nobody_knows_has_no_job() -> None:
    with pytest.raises(LookupError, match="s3://exports/team"):
        manifest(place=builders.BUCKET_PLACE)


@pytest.mark.parametrize(
    ("spool", "expected"),
    [
        (Spool(), {"emptyDir": {}}),
        (Spool(size_limit="9Gi"), {"emptyDir": {"sizeLimit": "9Gi"}}),
        (Spool(size="9Gi"),
         {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "9Gi"}}}),
        (Spool(size="9Gi", storage_class_name="fast"),
         {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "9Gi"}},
          "storageClassName": "fast"}),
    ],
)  # fmt: skip
def test_the_tables_of_a_tar_into_a_bucket_have_room_of_their_own(
    spool: Spool, expected: dict[str, Any]
) -> None:
    defaults = IN_BUCKET.model_copy(update={"spool": spool})
    job = manifest({"format": "tar"}, defaults=defaults, place=builders.BUCKET_PLACE)
    client.V1Job.model_validate(job)
    assert mounts(job)["/tmp"] == "spool"
    room = dict(volumes(job)["spool"])
    del room["name"]
    if spool.size:
        room = room["ephemeral"]["volumeClaimTemplate"]["spec"]
    assert room == expected
    # On a volume it is where the file goes.
    on_volume = manifest({"format": "tar"}, defaults=defaults)
    assert mounts(on_volume)["/tmp"] == "exports"
    assert "spool" not in volumes(on_volume)
