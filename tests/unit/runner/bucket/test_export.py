"""An export into a bucket: the object, its manifest and its metadata, small and large."""

import hashlib
from collections.abc import Callable

import pytest
from bucket_bench import KEY, bucket_environment, manifest, storage_values, uploads, write_secret
from runner_bench import JOB_ID, Bench
from s3_client import Bucket
from s3_server import S3Server

Environment = Callable[..., dict[str, str]]

MIB = 1024 * 1024


@pytest.mark.parametrize("mebibytes", [0, 1, 8, 9, 40])
def test_the_object_is_what_pg_dump_said(
    bench: Bench,
    make_environment: Environment,
    s3_server: S3Server,
    s3_bucket: Bucket,
    mebibytes: int,
) -> None:
    content = b"y\n" * (mebibytes * MIB // 2) + b"end"
    bench.says(f"yes | head -c {mebibytes * MIB}; printf end")
    write_secret(bench, s3_server)
    storage = bucket_environment(storage_values(s3_server, s3_bucket.name))
    artifact = bench.run(make_environment(compression="none", **storage))
    assert s3_bucket.keys() == [KEY, f"{KEY}.json"]
    assert uploads(s3_bucket) == []
    assert s3_bucket.get(KEY) == content
    sha256 = hashlib.sha256(content).hexdigest()
    assert (artifact.size_bytes, artifact.sha256) == (len(content), sha256)
    assert artifact.storage == "archive"
    assert artifact.url == f"s3://{s3_bucket.name}/{KEY}"
    found = s3_bucket.head(KEY)
    assert found.content_type == "application/sql"
    assert found.metadata["job-id"] == JOB_ID
    assert found.metadata["project-id"] == "--help"
    # gofakes3 copies an object to itself without its new metadata.
    if s3_server.kind != "gofakes3" or mebibytes < 8:
        assert found.metadata["sha256"] == sha256
    told = manifest(s3_bucket)
    assert (told["sha256"], told["url"]) == (sha256, artifact.url)
    assert told["attempt"] == found.metadata["attempt"]
    # A second attempt finds it.
    assert bench.run(make_environment(compression="none", **storage)) == artifact
