"""The upload that Google's and Azure's buckets get, tried with an S3 bucket: obstore's own."""

from pathlib import Path

import pytest
from backupexport_contract.storages import Storage
from backupexport_runner.bucket import part_sizes, upload
from backupexport_runner.bucket.failures import BucketErrors
from backupexport_runner.bucket.upload import ObstoreUpload
from backupexport_runtime.buckets import Bucket
from bucket_bench import KEY, PREFIX, BucketBench, storage_values, uploads

MIB = 1024 * 1024
ONE_KIND = pytest.mark.parametrize("s3_server", ["versitygw"], indirect=True)


def begin(bench: BucketBench) -> ObstoreUpload:
    settings = Storage.model_validate(storage_values(bench.server, bench.bucket.name))
    secret: Path = bench.bench.configuration.storage
    key = KEY.removeprefix(f"{PREFIX}/")
    bucket, errors = Bucket(settings, secret), BucketErrors(settings.root)
    return ObstoreUpload(bucket, errors, key, {"attempt": "a"}, 40 * MIB, lambda: None)


@ONE_KIND
def test_it_is_whole_after_its_end_and_not_there_before(bucket_bench: BucketBench) -> None:
    content = bytes(range(256)) * (40 * 4096)
    writing = begin(bucket_bench)
    for at in range(0, len(content), MIB):
        writing.write(content[at : at + MIB])
    writing.finish()
    assert bucket_bench.bucket.keys() == []
    writing.complete()
    assert bucket_bench.bucket.get(KEY) == content
    assert bucket_bench.bucket.head(KEY).metadata["attempt"] == "a"
    assert uploads(bucket_bench.bucket) == []
    assert writing.abort()
    assert bucket_bench.bucket.get(KEY) == content


@ONE_KIND
def test_given_up_it_leaves_nothing(bucket_bench: BucketBench) -> None:
    writing = begin(bucket_bench)
    for _ in range(40):
        writing.write(bytes(MIB))
    assert writing.abort()
    assert bucket_bench.bucket.keys() == []
    assert uploads(bucket_bench.bucket) == []


def test_its_parts_fit_into_memory() -> None:
    for estimated in (0, MIB, 10**9, 10**11, 10**12):
        size, at_once = upload.fixed_parts(estimated)
        assert size * (at_once + 1) <= part_sizes.MOST_MEMORY_BYTES or at_once == 1
        assert size * part_sizes.MOST_PARTS >= min(estimated or 10**12, 10**12)
