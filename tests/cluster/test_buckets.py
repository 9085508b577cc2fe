"""Exports into buckets: their whole life, what goes wrong, and who has the credentials.

There is no volume in this release.  The bucket's user may do what docs/storage.md says, no more.
"""

import hashlib
import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from bucket_release import (
    PREFIX,
    BucketRelease,
    apply_credentials,
    bucket_release,
    least_policy,
    storage_values,
)
from failing_exports import assert_explained, begin_again
from installation import Installation
from playground.s3_server import KeyPair, S3Pod
from playground.tools import apply, get, kubectl, make_namespace, wait_for
from s3_pod import reached

pytestmark = pytest.mark.cluster

_MORE = 8 * 2**20
# Some megabytes of a kind that doesn't compress.
_NOISE = """
CREATE TABLE noise AS
SELECT i AS id, string_agg(sha512((i || ':' || j)::bytea)::text, '') AS text
  FROM generate_series(1, 4000) AS i, generate_series(1, 64) AS j GROUP BY i;
"""


@pytest.fixture(scope="module")
def buckets(installation: Installation, connection: dict[str, str]) -> Iterator[BucketRelease]:
    namespace = f"backupexport-test-{secrets.token_hex(3)}"
    make_namespace(namespace)
    installation.server.psql("CREATE DATABASE bulky")
    installation.server.psql(_NOISE, "bulky")
    try:
        s3, other = S3Pod(namespace), S3Pod(namespace, "other", image="OTHER_S3_IMAGE", tls=False)
        small = S3Pod(namespace, "small", tls=False, memory="4Mi")
        for pod in (s3, other, small):
            pod.start()
        with reached(s3) as objects:
            objects.set_policy(least_policy(s3))
        wrong = KeyPair(s3.user.access_key_id, "wrong" + s3.user.secret_access_key[5:])
        apply_credentials(
            namespace, least=s3.user, owner=s3.owner, wrong=wrong, other=other.owner,
            small=small.owner, away=other.owner,
        )  # fmt: skip
        values: dict[str, Any] = {
            "api": {"replicas": 1},
            "operator": {"replicas": 1},
            "runner": {"backoffLimit": 1},
            "storage": {"enabled": False},
            "storages": {
                "default": storage_values(s3, "least"),
                "other": storage_values(other, "other") | {"downloads": "stream"},
                "small": storage_values(small, "small"),
                "wrong-key": storage_values(s3, "wrong"),
                "no-bucket": storage_values(s3, "owner", bucket="nowhere"),
                "unknown-ca": {
                    key: value
                    for key, value in storage_values(s3, "least").items()
                    if key != "caCertificates"
                },
                "away": {
                    **storage_values(other, "away"),
                    "s3": storage_values(other, "away")["s3"]
                    | {"endpoint": f"http://away.{namespace}.svc:7070"},
                },
            },
        }
        with bucket_release(namespace, s3, values, connection) as found:
            yield found
    finally:
        kubectl("delete", "namespace", namespace, "--wait=false")
        kubectl(
            "delete", "validatingadmissionpolicies,validatingadmissionpolicybindings",
            "-l", f"backupexport.dev/namespace={namespace}",
        )  # fmt: skip


@pytest.mark.parametrize("dump_format", ["sql", "tar", "custom"])
def test_an_export_is_an_object_with_its_manifest(buckets: BucketRelease, dump_format: str) -> None:
    export = buckets.begin(f"whole-{dump_format}", "default", format=dump_format)
    status = export.ended()
    assert status["phase"] == "Succeeded", status
    artifact = status["artifact"]
    path, url = artifact["path"], f"s3://exports/{PREFIX}/{artifact['path']}"
    assert (artifact["storage"], artifact["url"], artifact.get("claim")) == ("default", url, None)
    assert buckets.keys(export.project_id) == [path, f"{path}.json"]
    content = buckets.objects.get(f"{PREFIX}/{path}")
    assert len(content) == artifact["sizeBytes"]
    assert hashlib.sha256(content).hexdigest() == artifact["sha256"]
    metadata = buckets.objects.head(f"{PREFIX}/{path}").metadata
    assert metadata["job-id"] == export.job_id()
    assert metadata["project-id"] == export.project_id
    assert metadata["sha256"] == artifact["sha256"]
    manifest = json.loads(buckets.objects.get(f"{PREFIX}/{path}.json"))
    told = {name: manifest[name] for name in ("path", "sha256", "size_bytes", "storage", "url")}
    assert told == {
        "path": path, "sha256": artifact["sha256"], "size_bytes": artifact["sizeBytes"],
        "storage": "default", "url": url,
    }  # fmt: skip


def test_a_file_of_many_parts_is_whole_and_fetched_from_the_bucket_by_a_link(
    buckets: BucketRelease,
) -> None:
    bulky = replace(buckets, connection={**buckets.connection, "database": "bulky"})
    export = bulky.begin("bulky", "default", compress=False)
    artifact = export.ended()["artifact"]
    assert artifact["sizeBytes"] > _MORE
    link = buckets.everything.link(export.job_id(), 300)
    whole = buckets.curl("--location", "--dump-header", "/dev/stderr", link)
    assert b"307" in whole.stderr.splitlines()[0]
    assert hashlib.sha256(whole.stdout).hexdigest() == artifact["sha256"]
    assert buckets.fetched(link, artifact["sizeBytes"], cuts=3) == artifact["sha256"]
    part = buckets.curl("--location", "--range", "1000000-1000099", link)
    assert part.stdout == whole.stdout[1000000:1000100]
    head = buckets.curl("--location", "--head", link).stdout.decode().lower()
    assert f"content-length: {artifact['sizeBytes']}" in head
    name = artifact["path"].rpartition("/")[2]
    assert re.search(f'content-disposition: attachment; filename="?{name.lower()}"?', head)
    assert buckets.objects.uploads() == []


def test_a_file_is_streamed_from_another_server_where_the_storage_says_so(
    buckets: BucketRelease,
) -> None:
    export = buckets.begin("streamed", "other")
    status = export.ended()
    assert status["phase"] == "Succeeded", status
    link = buckets.everything.link(export.job_id(), 300)
    whole = buckets.curl("--dump-header", "/dev/stderr", link)
    assert b"200" in whole.stderr.splitlines()[0]
    assert hashlib.sha256(whole.stdout).hexdigest() == status["artifact"]["sha256"]
    assert buckets.curl("--range", "10-19", link).stdout == whole.stdout[10:20]


def test_a_cancelled_export_leaves_nothing(buckets: BucketRelease) -> None:
    slow = {"resources": {"limits": {"cpu": "20m", "memory": "256Mi"}}}
    bulky = replace(buckets, connection={**buckets.connection, "database": "bulky"})
    export = bulky.begin("cancelled", "default", slow, compress=False)
    wait_for(lambda: export.status().get("phase") == "Running", "its start", 240)
    export.cancel()
    assert export.ended()["phase"] == "Cancelled"
    assert buckets.keys("cancelled") == []
    assert [it for it in buckets.objects.uploads() if "/cancelled/" in it.key] == []


def test_a_runner_that_is_killed_leaves_nothing_and_the_next_attempt_succeeds(
    buckets: BucketRelease,
) -> None:
    slow = {"resources": {"limits": {"cpu": "100m", "memory": "256Mi"}}}
    bulky = replace(buckets, connection={**buckets.connection, "database": "bulky"})
    export = bulky.begin("killed", "default", slow, compress=False)

    def is_uploading() -> bool:
        return any("/killed/" in it.key for it in buckets.objects.uploads())

    wait_for(is_uploading, "an upload that is under way", 300)
    (pod,) = export.pods()
    kubectl(
        "-n", buckets.namespace, "delete", "pod", pod["metadata"]["name"], "--grace-period=0",
        "--force",
    )  # fmt: skip
    status = export.ended(900)
    assert status["phase"] == "Succeeded", status
    path = status["artifact"]["path"]
    assert buckets.keys("killed") == [path, f"{path}.json"]
    wait_for(lambda: not is_uploading(), "the end of what the killed one left", 240)


def test_an_export_that_expires_takes_its_objects_along(buckets: BucketRelease) -> None:
    kept = buckets.begin("expires", "default").ended()["artifact"]["path"]
    # Long enough to be seen at its end, however seldom a busy machine looks.
    export = begin_again(buckets.namespace, "expires", buckets.connection, retentionSeconds=10)
    assert export.ended()["phase"] == "Succeeded"

    def is_gone() -> bool:
        found = get("-n", buckets.namespace, "backupexports")["items"]
        return export.name not in {it["metadata"]["name"] for it in found}

    wait_for(is_gone, "the removal of an expired export", 300)
    left = [key for key in buckets.keys("expires") if not key.endswith(".removed")]
    assert left == [kept, f"{kept}.json"]


def test_an_object_that_somebody_removed_is_said_to_be_missing(buckets: BucketRelease) -> None:
    # Long enough for a busy machine to remove the object before its time is over.
    export = buckets.begin("missing", "default", retentionSeconds=20)
    path = export.ended()["artifact"]["path"]
    buckets.objects.delete(f"{PREFIX}/{path}")
    assert export.has_event("Warning", "FileMissing")
    answer = buckets.everything.call("GET", f"/api/jobs/{export.job_id()}/download")
    assert answer.status == 410


_REFUSED = {
    "wrong-key": ("StorageUnwritable", "credentials|secret"),
    "no-bucket": ("StorageUnwritable", "nowhere"),
    "unknown-ca": ("StorageUnwritable", "certificate"),
    "small": ("StorageFull", "full|room|space|quota"),
}


@pytest.mark.parametrize("storage", _REFUSED)
def test_a_bucket_that_takes_nothing_fails_the_export_in_words(
    buckets: BucketRelease, storage: str
) -> None:
    reason, words = _REFUSED[storage]
    bulky = replace(buckets, connection={**buckets.connection, "database": "bulky"})
    export = bulky.begin(f"refused-{storage}", storage, compress=False)
    status = export.ended()
    assert status["reason"] == reason, status
    assert_explained(export, status, words)
    assert buckets.s3.user.secret_access_key not in json.dumps(status)
    assert status["phase"] == "Failed"


def test_a_server_that_is_away_is_waited_for(buckets: BucketRelease) -> None:
    export = buckets.begin("away", "away")
    status = export.told("StorageUnwritable")
    assert_explained(export, status, "tried again")
    assert status["phase"] in ("Pending", "Running")
    back = S3Pod(buckets.namespace, "away", tls=False)
    # It comes with the keys that the storage's Secret has: an attempt that it refuses is the last.
    other = S3Pod(buckets.namespace, "other")
    metadata = {"name": back.keys_secret, "namespace": buckets.namespace}
    keys = get("-n", buckets.namespace, "secret", other.keys_secret)["data"]
    apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": keys})
    back.start()
    assert export.ended(900)["phase"] == "Succeeded"


def test_targets_say_what_the_check_of_their_storage_found(buckets: BucketRelease) -> None:
    buckets.begin("checked-good", "default").ended()
    assert buckets.ready_condition("checked-good", "True")["reason"]
    bad = buckets.begin("checked-bad", "no-bucket")
    condition = buckets.ready_condition("checked-bad", "False")
    assert "nowhere" in condition["message"]
    bad.cancel()


def test_only_pods_that_need_them_have_the_credentials(buckets: BucketRelease) -> None:
    buckets.begin("mounts", "default").ended()
    pods = get("-n", buckets.namespace, "pods")["items"]
    seen: dict[str, set[str]] = {}
    for pod in pods:
        component = pod["metadata"]["labels"].get("app.kubernetes.io/component", "")
        text = json.dumps(pod["spec"]["volumes"])
        names = {name for name in ("least", "wrong", "owner", "other") if f'"{name}"' in text}
        seen.setdefault(component, set()).update(names)
    assert seen["operator"] == set()
    assert "least" in seen["runner"]
    # By name, those of the buckets that it signs for or streams from.
    assert seen["api"] == {"least", "wrong", "owner", "other"}


def test_credentials_are_told_nowhere(buckets: BucketRelease) -> None:
    keys = [buckets.s3.user.secret_access_key, buckets.s3.owner.secret_access_key]
    namespace = buckets.namespace
    kinds = (
        "pods",
        "jobs",
        "backupexports",
        "exporttargets",
        "events",
        "configmaps",
        "deployments",
    )
    told = [json.dumps(get("-n", namespace, kind)) for kind in kinds]
    told += [
        kubectl("-n", namespace, "logs", "-l", f"app.kubernetes.io/component={component}",
                "--tail=-1", "--ignore-errors", "--prefix")
        for component in ("api", "operator", "runner")
    ]  # fmt: skip
    for key in keys:
        assert not any(key in text for text in told)
