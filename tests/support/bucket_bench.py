"""A bucket with its Secret and the environment that names it, for a runner of a bench."""

import json
from typing import Any

from backupexport_contract import runner_protocol as protocol
from backupexport_contract.storages import Storage, storage_text
from runner_bench import JOB_ID, Bench
from s3_client import Bucket
from s3_server import S3Server

PREFIX = "exports"
PROJECT = "--help"
FILE_NAME = f"20260129T153000Z-{JOB_ID}.sql"
KEY = f"{PREFIX}/{PROJECT}/{FILE_NAME}"


def storage_values(server: S3Server, bucket: str, **more: Any) -> dict[str, Any]:
    """The storage as the chart has it."""
    s3 = {
        "bucket": bucket,
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


def prefixed(bucket: Bucket) -> list[str]:
    """The keys that are there."""
    return bucket.keys()


def manifest(bucket: Bucket) -> dict[str, Any]:
    """The export's manifest."""
    fields: dict[str, Any] = json.loads(bucket.get(f"{KEY}.json"))
    return fields
