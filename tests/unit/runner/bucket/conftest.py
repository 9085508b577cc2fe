"""A runner whose bucket is behind a proxy that fails when a test wants it."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from backupexport_runner.bucket import s3_client, upload
from backupexport_runtime import buckets
from bucket_bench import BucketBench, write_secret
from runner_bench import Bench
from s3_client import Bucket
from s3_faults import FaultProxy
from s3_server import S3Server


@pytest.fixture
def bucket_bench(tmp_path: Path, s3_server: S3Server, s3_bucket: Bucket) -> Iterator[BucketBench]:
    bench = Bench(tmp_path)
    write_secret(bench, s3_server)
    with FaultProxy(s3_server.url) as proxy:
        yield BucketBench(bench, replace(s3_server, url=proxy.url), s3_bucket, proxy)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever fails is tried once more, and at once."""
    monkeypatch.setattr(s3_client.S3Client.__init__, "__defaults__", ((0.01,),))
    retries = {
        "max_retries": 1,
        "retry_timeout": timedelta(seconds=30),
        "backoff": {
            "init_backoff": timedelta(milliseconds=1),
            "max_backoff": timedelta(milliseconds=2),
            "base": 2,
        },
    }
    monkeypatch.setattr(buckets, "_retry_options", lambda _: retries)
    monkeypatch.setattr(upload, "_SECONDS_TO_SETTLE", 20.0)
