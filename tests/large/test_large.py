"""20,000 tables, one of more than 8 GiB, 10,000 large objects: `make test-large`.

It takes 10 GiB of the node's disk, most of it for the table as the tar format keeps it.
"""

import secrets
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from large_database import FORMATS, LargeDatabase, Size, assert_goes_back
from playground.postgres import Postgres
from playground.release import Release
from playground.restore import ExportsVolume
from playground.tools import kubectl, make_namespace

pytestmark = pytest.mark.cluster

# A member of a tar archive has a size of another kind from 8 GiB on.
_SIZE = Size(tables=20_000, mebibytes=8200, large_objects=10_000)
# What the export itself must say that a restore needs.
_LOCKS = 581
# The kernel counts pages of files, too, but takes them back before it kills.
_RESOURCES = {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}}


@dataclass(frozen=True)
class Large:
    """An installation of its own, whose server has just enough locks."""

    namespace: str
    database: LargeDatabase


@pytest.fixture(scope="module")
def large() -> Iterator[Large]:
    namespace = f"backupexport-large-{secrets.token_hex(3)}"
    make_namespace(namespace)
    try:
        settings = (f"max_locks_per_transaction={_LOCKS}", "max_connections=100")
        server = Postgres(namespace, settings=settings)
        server.start()
        Release(namespace).install({"storage": {"size": "20Gi", "keep": False}})
        volume = ExportsVolume(namespace, "backupexport-exports", server)
        volume.open()
        began = time.monotonic()
        database = LargeDatabase(server, volume, _SIZE)
        database.make()
        _tell(f"made in {time.monotonic() - began:.0f} s")
        yield Large(namespace, database)
    finally:
        kubectl("delete", "namespace", namespace, "--wait=false")
        kubectl(
            "delete", "validatingadmissionpolicies,validatingadmissionpolicybindings",
            "-l", f"backupexport.dev/namespace={namespace}",
        )  # fmt: skip


@pytest.mark.parametrize("dump_format", FORMATS)
def test_it_goes_back(large: Large, dump_format: str) -> None:
    began = time.monotonic()
    exported = large.database.begin(large.namespace, dump_format, resources=_RESOURCES)
    found = assert_goes_back(large.database, exported)
    _tell(
        f"{dump_format}: {found.status['artifact']['uncompressedBytes']} bytes in "
        f"{found.seconds:.0f} s, restored and compared after {time.monotonic() - began:.0f} s; "
        f"peaks of memory: runner {found.runner / 2**20:.0f} MiB, "
        f"pg_dump {found.pg_dump / 2**20:.0f} MiB"
    )
    assert f"max_locks_per_transaction of at least {_LOCKS} " in found.remarks["locks"]


def _tell(figures: str) -> None:
    sys.stdout.write(f"\n{figures}\n")
