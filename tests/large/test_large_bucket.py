"""An export of 5 GiB through a bucket: `make test-large`.

It takes 10 GiB of the node's disk: the server's parts, and then the object.
"""

import secrets
import sys
import time

import pytest
from bucket_release import apply_credentials, bucket_release, storage_values
from large_database import figures
from playground import demo_database
from playground.postgres import Postgres
from playground.s3_server import S3Pod
from playground.tools import kubectl, make_namespace

pytestmark = pytest.mark.cluster

_MEBIBYTES = 5 * 1024
# What a volume's runner has at most (tests/support/large_database.py), and 128 MiB for parts.
_RUNNER_MOST = (128 + 128) * 2**20
_TABLE = """
CREATE TABLE large (id int PRIMARY KEY, filling text);
INSERT INTO large SELECT i, repeat(md5(i::text), 32768) FROM generate_series(1, {rows}) AS i;
"""


def test_memory_stays_flat_and_the_file_is_whole_after_three_cuts() -> None:
    namespace = f"backupexport-large-{secrets.token_hex(3)}"
    make_namespace(namespace)
    try:
        server, s3 = Postgres(namespace), S3Pod(namespace)
        server.start()
        s3.start()
        server.psql("CREATE DATABASE large")
        server.psql(f"CREATE ROLE {demo_database.EXPORTER} LOGIN")
        server.psql(f"GRANT pg_read_all_data TO {demo_database.EXPORTER}")
        server.psql(_TABLE.format(rows=_MEBIBYTES), "large")
        apply_credentials(namespace, bucket=s3.owner)
        values = {
            "storage": {"enabled": False},
            "storages": {"default": storage_values(s3, "bucket")},
            "networkPolicy": {"enabled": False},
        }
        connection = demo_database.exporter_connection(server, "large")
        with bucket_release(namespace, s3, values, connection) as found:
            began = time.monotonic()
            export = found.begin("large", "default", compress=False)
            told = figures(export)
            artifact = told.status["artifact"]
            assert artifact["sizeBytes"] > _MEBIBYTES * 2**20
            assert told.runner < _RUNNER_MOST
            exported = time.monotonic() - began
            link = found.everything.link(export.job_id(), 3600)
            assert found.fetched(link, artifact["sizeBytes"], cuts=3) == artifact["sha256"]
            assert found.objects.uploads() == []
            sys.stdout.write(
                f"\n{artifact['sizeBytes']} bytes into a bucket in {exported:.0f} s, fetched with "
                f"3 cuts in {time.monotonic() - began - exported:.0f} s; peak of the runner's "
                f"memory {told.runner / 2**20:.0f} MiB\n"
            )
    finally:
        kubectl("delete", "namespace", namespace, "--wait=false")
        kubectl(
            "delete", "validatingadmissionpolicies,validatingadmissionpolicybindings",
            "-l", f"backupexport.dev/namespace={namespace}",
        )  # fmt: skip
