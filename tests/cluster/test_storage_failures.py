"""A volume that is full, read-only or not the runner's to write to."""

import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from backupexport_contract.rules import LEAST_FILE_BYTES
from failing_exports import (
    Attempted,
    assert_explained,
    assert_failed_at_once,
    begin,
    begin_again,
    small_connection,
)
from installation import Installation
from node_volume import SmallVolume, node_of_this_machine, small_volume
from playground.release import Release
from playground.tools import get, kubectl, make_namespace

pytestmark = pytest.mark.cluster

# Some megabytes of a kind that doesn't compress: the volume is full in the middle of them.
_NOISE = """
CREATE TABLE noise AS
SELECT i AS id, string_agg(sha512((i || ':' || j)::bytea)::text, '') AS text
  FROM generate_series(1, 1000) AS i, generate_series(1, 64) AS j GROUP BY i;
"""


@dataclass(frozen=True)
class Cramped:
    """A release whose volume holds two megabytes."""

    namespace: str
    volume: SmallVolume
    noise: dict[str, str]
    small: dict[str, str]


@pytest.fixture(scope="module")
def cramped(installation: Installation) -> Iterator[Cramped]:
    node = node_of_this_machine()
    if node is None:
        pytest.skip("the cluster's node is another machine, or this is not root: no small volume")
    installation.server.psql("CREATE DATABASE noise")
    installation.server.psql(_NOISE, "noise")
    small = small_connection(installation)
    namespace = f"backupexport-test-{secrets.token_hex(3)}"
    make_namespace(namespace)
    try:
        with small_volume(namespace, node, "2m") as volume:
            Release(namespace).install(
                {
                    "api": {"replicas": 1},
                    "operator": {"replicas": 1},
                    "storage": {"existingClaim": volume.claim},
                }
            )
            yield Cramped(namespace, volume, {**small, "database": "noise"}, small)
            # No runner may be left to hold the volume.
            kubectl("-n", namespace, "delete", "bex", "--all", "--timeout=240s")
    finally:
        kubectl("delete", "namespace", namespace, "--wait=false")


def test_a_full_volume_fails_at_once_and_keeps_nothing(cramped: Cramped) -> None:
    exports = [
        begin(cramped.namespace, f"full-{dump_format}", cramped.noise, format=dump_format)
        for dump_format in ("sql", "tar")
    ]
    for export in exports:
        assert_failed_at_once(export, "StorageFull", "volume", "[Mm]ake room|free space")
    assert cramped.volume.files() == []


def test_a_volume_that_was_full_takes_the_next_export(cramped: Cramped) -> None:
    export = begin(cramped.namespace, "full-no-more", cramped.small)
    assert export.ended()["phase"] == "Succeeded"


def test_a_file_beyond_the_projects_limit_fails_at_once_and_is_gone(cramped: Cramped) -> None:
    target = {"maxBytes": 200_000}
    export = begin(cramped.namespace, "too-large", cramped.noise, target)
    assert_failed_at_once(export, "StorageFull", "maxBytes, 195.3 KiB", "administrator raise it")
    assert [file for file in cramped.volume.files() if file.startswith("too-large/")] == []


def test_a_table_beyond_what_the_tar_format_may_keep_fails_at_once(cramped: Cramped) -> None:
    # Less than the volume has, which else would be full.
    export = begin(cramped.namespace, "spooled", cramped.noise, {"maxBytes": 200_000}, format="tar")
    assert_failed_at_once(export, "StorageFull", "A table, or a large object", "custom or sql")
    assert [file for file in cramped.volume.files() if file.startswith("spooled/")] == []


def test_a_project_without_room_waits_until_old_exports_are_gone(cramped: Cramped) -> None:
    # Larger than the second, which finds room for itself when this one is gone.
    first = begin(
        cramped.namespace, "stores", cramped.small, artifactPolicy="Delete", compress=False
    )
    size = first.ended()["artifact"]["sizeBytes"]
    kubectl(
        "-n", cramped.namespace, "patch", "ext", "--type=merge", _target_of(cramped, "stores"),
        "-p", json.dumps({"spec": {"maxStoredBytes": size}}),
    )  # fmt: skip
    second = begin_again(cramped.namespace, "stores", cramped.small)
    # Nobody else waits behind it.
    assert begin(cramped.namespace, "stores-not", cramped.small).ended()["phase"] == "Succeeded"
    status = second.told("StorageFull")
    assert status["phase"] == "Pending"
    assert_explained(second, status, "of maxStoredBytes", "remove old exports", "starts by itself")
    assert second.pods() == []
    kubectl("-n", cramped.namespace, "delete", "bex", first.name, "--timeout=240s")
    assert second.ended()["phase"] == "Succeeded"


def test_a_file_whose_export_is_gone_takes_its_room_all_the_same(cramped: Cramped) -> None:
    first = begin(cramped.namespace, "forgotten", cramped.small, compress=False)
    artifact = first.ended()["artifact"]
    kubectl("-n", cramped.namespace, "delete", "bex", first.name, "--timeout=240s")
    limit = {"spec": {"maxStoredBytes": artifact["sizeBytes"]}}
    kubectl(
        "-n", cramped.namespace, "patch", "ext", "--type=merge", _target_of(cramped, "forgotten"),
        "-p", json.dumps(limit),
    )  # fmt: skip
    second = begin_again(cramped.namespace, "forgotten", cramped.small)
    words = "files on the volume take .* of maxStoredBytes", "whose BackupExports are gone"
    assert_failed_at_once(second, "StorageFull", *words)
    assert artifact["path"] in cramped.volume.files()
    (cramped.volume.root / artifact["path"]).unlink()
    assert (
        begin_again(cramped.namespace, "forgotten", cramped.small).ended()["phase"] == "Succeeded"
    )


def test_no_export_is_smaller_than_the_room_that_counts_as_none(
    cramped: Cramped, installation: Installation
) -> None:
    installation.server.psql("CREATE DATABASE hollow TEMPLATE template0")
    hollow = {**cramped.small, "database": "hollow"}
    exports = [
        begin(
            cramped.namespace, f"hollow-{dump_format}", hollow, format=dump_format, content="data"
        )
        for dump_format in ("sql", "tar", "custom")
    ]
    sizes = [export.ended()["artifact"]["sizeBytes"] for export in exports]
    assert min(sizes) > LEAST_FILE_BYTES, sizes


def test_nothing_begins_while_the_volume_has_no_more_than_its_reserve(cramped: Cramped) -> None:
    filler = cramped.volume.root / "filler"
    found = os.statvfs(cramped.volume.root)
    filler.write_bytes(bytes(found.f_bavail * found.f_frsize - 4 * found.f_frsize))
    try:
        export = begin(cramped.namespace, "reserved", cramped.small)
        status = export.told("StorageFull")
        assert status["phase"] == "Pending"
        assert_explained(export, status, r"reserved \(storage.reserve\)", "starts by itself")
        assert "attempts" not in status or status["attempts"] == 0
    finally:
        filler.unlink()
    assert export.ended()["phase"] == "Succeeded"


def _target_of(cramped: Cramped, project: str) -> str:
    targets = get("-n", cramped.namespace, "ext")["items"]
    return next(
        str(target["metadata"]["name"])
        for target in targets
        if target["spec"]["projectId"] == project
    )


def test_a_directory_that_the_runner_may_not_write_to_fails_at_once(cramped: Cramped) -> None:
    (cramped.volume.root / "not-ours").mkdir(mode=0o755)
    export = begin(cramped.namespace, "not-ours", cramped.small)
    assert_failed_at_once(export, "StorageUnwritable", r"fsGroup.*permission")


def test_a_read_only_volume_fails_at_once_or_is_told_while_pending(cramped: Cramped) -> None:
    first = begin(cramped.namespace, "read-only", cramped.small)
    assert first.ended()["phase"] == "Succeeded"
    cramped.volume.set_read_only(True)
    try:
        again = begin_again(cramped.namespace, "read-only", cramped.small)
        # Nobody can even make the directory of this one.
        fresh = begin(cramped.namespace, "read-only-anew", cramped.small)
        assert_failed_at_once(again, "StorageUnwritable", "read-only: mount it for writing")
        assert_told_while_pending(fresh)
        fresh.cancel()
        assert fresh.ended()["phase"] == "Cancelled"
    finally:
        cramped.volume.set_read_only(False)


def assert_told_while_pending(export: Attempted) -> None:
    status = export.told("StorageUnwritable")
    assert status["phase"] == "Pending"
    assert_explained(
        export, status, "check the exports' volume, which has to take writes", "subPath"
    )
    assert len(export.pods()) == 1
