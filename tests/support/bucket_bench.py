"""A bucket with its Secret and the environment that names it, for a runner of a bench."""

import json
from dataclasses import dataclass
from typing import Any

import httpx
from backupexport_contract import runner_protocol as protocol
from backupexport_contract.storages import Storage, storage_text
from runner_bench import JOB_ID, Bench, environment
from s3_client import Bucket
from s3_faults import FaultProxy
from s3_server import S3Server

PREFIX = "exports"
PROJECT = "--help"
FILE_NAME = f"20260129T153000Z-{JOB_ID}.sql"
KEY = f"{PREFIX}/{PROJECT}/{FILE_NAME}"


def storage_values(server: S3Server, name: str, **more: Any) -> dict[str, Any]:
    """The storage as the chart has it."""
    s3 = {
        "bucket": name,
        "prefix": PREFIX,
        "endpoint": server.url,
        "region": server.region,
        "pathStyle": True,
    } | more
    return {"s3": s3}


def bucket_environment(values: dict[str, Any], name: str = "archive") -> dict[str, str]:
    """What the operator gives the container of the storage."""
    text = storage_text(name, Storage.model_validate(values))
    return protocol.in_pieces(protocol.ENV_STORAGE, text)


def write_secret(bench: Bench, server: S3Server, secret: str | None = None) -> None:
    """The Secret's keys of the server's owner."""
    for key, value in (
        ("AWS_ACCESS_KEY_ID", server.owner.access_key_id),
        ("AWS_SECRET_ACCESS_KEY", secret or server.owner.secret_access_key),
    ):
        (bench.configuration.storage / key).write_text(value)


def uploads(bucket: Bucket) -> list[str]:
    """The keys that something is being uploaded to."""
    try:
        return [each.key for each in bucket.uploads()]
    except httpx.HTTPStatusError as error:
        # How gofakes3 says that there is none.
        if error.response.status_code != 404:
            raise
        return []


def manifest(bucket: Bucket) -> dict[str, Any]:
    """The export's manifest."""
    fields: dict[str, Any] = json.loads(bucket.get(f"{KEY}.json"))
    return fields


@dataclass
class BucketBench:
    """A runner and the bucket that it reaches through the proxy; `bucket` goes past it."""

    bench: Bench
    server: S3Server
    bucket: Bucket
    proxy: FaultProxy

    def environment(self, **more: str) -> dict[str, str]:
        """What the operator gives the container, for an export as it is."""
        storage = bucket_environment(storage_values(self.server, self.bucket.name))
        return environment(compression="none") | storage | more

    def says(self, size: int) -> bytes:
        """Have pg_dump say so many bytes; they are returned."""
        self.bench.says(f"yes | head -c {size}")
        return (b"y\n" * (size // 2 + 1))[:size]

    def require_whole_or_nothing(self, content: bytes) -> None:
        """Under its name is nothing, or all of it; no manifest is without its object."""
        keys = self.bucket.keys()
        if KEY in keys:
            assert self.bucket.get(KEY) == content
        else:
            assert f"{KEY}.json" not in keys

    def require_whole(self, content: bytes) -> None:
        """The object and its manifest are there, and nothing else."""
        assert self.bucket.keys() == [KEY, f"{KEY}.json"]
        assert self.bucket.get(KEY) == content
        assert uploads(self.bucket) == []

    def empty(self) -> None:
        """Remove all objects."""
        for key in [*self.bucket.keys()]:
            self.bucket.delete(key)
