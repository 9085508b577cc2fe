"""Where files are, and which storage is there."""

from typing import Any

import builders
import pytest
from backupexport_contract.storages import S3Storage, Storage, VolumeStorage
from backupexport_operator.observed.places import (
    Place,
    is_reachable,
    place_of,
    recorded_place,
    storage_at,
    without_storage,
)

ROOT = "s3://exports/team"
BOTH = {**builders.STORAGES, "bucket": builders.BUCKET}
SERVER, ANOTHER = "https://minio.example.com", "https://ceph.example.com"


def _bucket(**settings: Any) -> Storage:
    """Of the same name on every server."""
    return Storage(s3=S3Storage(bucket="exports", prefix="team", **settings))


RENAMED_SERVER = {"minio": _bucket(endpoint=ANOTHER, former_endpoints=[SERVER])}
SERVERS = {"cloud": _bucket(), "minio": _bucket(endpoint=SERVER)}
RENAMED = {**builders.STORAGES, "other": builders.BUCKET}
MOVED = {
    "default": Storage(volume=VolumeStorage(claim="new")),
    "bucket": Storage(s3=S3Storage(bucket="exports")),
}


@pytest.mark.parametrize(
    ("artifact", "storages", "expected"),
    [
        ({"claim": "c"}, BOTH, Place("default", "c")),
        ({"storage": "bucket", "url": f"{ROOT}/p/f"}, BOTH, Place("bucket", ROOT)),
        # By where it is, not by a name that may be another's by now.
        ({"storage": "bucket", "url": f"{ROOT}/p/f"}, RENAMED, Place("other", ROOT)),
        ({"storage": "bucket", "url": f"{ROOT}/p/f"}, MOVED, Place("bucket", ROOT)),
        ({"claim": "c"}, MOVED, Place("default", "c")),
        # Two servers may have a bucket of one name each.
        (
            {"storage": "x", "url": f"{ROOT}/p/f", "endpoint": SERVER},
            SERVERS,
            Place("minio", ROOT, SERVER),
        ),
        ({"storage": "x", "url": f"{ROOT}/p/f"}, SERVERS, Place("cloud", ROOT)),
        (
            {"storage": "minio", "url": f"{ROOT}/p/f", "endpoint": SERVER},
            BOTH,
            Place("minio", ROOT, SERVER),
        ),
        # No operator writes these.
        ({"url": f"{ROOT}/p/another"}, BOTH, Place("default", f"{ROOT}/p/another")),
        ({"url": "s3://exports/p/f"}, BOTH, Place("default", "s3://exports")),
        # One that knew a single claim wrote this.
        ({}, BOTH, Place("default", "c")),
        ({}, {"bucket": builders.BUCKET}, Place("default", "")),
        (None, BOTH, Place("default", "c")),
    ],
)
def test_where_a_file_is_recorded(
    artifact: dict[str, Any] | None, storages: dict[str, Storage], expected: Place
) -> None:
    recorded = None if artifact is None else builders.ARTIFACT_STATUS | artifact
    export = builders.export(status={"phase": "Succeeded", "artifact": recorded})
    assert recorded_place(export, storages, "") == expected


@pytest.mark.parametrize(
    ("place", "storages", "storage", "reachable"),
    [
        (Place("bucket", ROOT), BOTH, builders.BUCKET, True),
        (Place("whatever", ROOT), RENAMED, builders.BUCKET, True),
        (Place("bucket", ROOT), MOVED, None, False),
        (Place("bucket", ROOT, SERVER), BOTH, None, False),
        (Place("minio", ROOT, SERVER), SERVERS, SERVERS["minio"], True),
        (Place("minio", ROOT), SERVERS, SERVERS["cloud"], True),
        (Place("minio", ROOT, SERVER), {"minio": _bucket(endpoint=ANOTHER)}, None, False),
        (Place("minio", ROOT, SERVER), RENAMED_SERVER, RENAMED_SERVER["minio"], True),
        (Place("default", "c"), BOTH, builders.STORAGES["default"], True),
        # It can be mounted still: storage.formerClaims.
        (Place("default", "c"), MOVED, None, True),
    ],
)
def test_which_storage_is_there(
    place: Place, storages: dict[str, Storage], storage: Storage | None, reachable: bool
) -> None:
    assert storage_at(place, storages) == storage
    assert is_reachable(place, storages) is reachable


def test_the_place_of_a_name() -> None:
    assert place_of("bucket", BOTH) == Place("bucket", ROOT)
    assert place_of("minio", SERVERS) == Place("minio", ROOT, SERVER)
    assert place_of("another", BOTH) is None


def test_the_name_decides_between_two_for_one_place() -> None:
    export = builders.export(
        status={
            "phase": "Succeeded",
            "artifact": builders.ARTIFACT_STATUS
            | {"storage": "second", "url": f"{ROOT}/p/f", "endpoint": SERVER},
        }
    )
    both = {"first": _bucket(endpoint=SERVER), "second": _bucket(endpoint=SERVER)}
    assert recorded_place(export, both, "") == Place("second", ROOT, SERVER)


@pytest.mark.parametrize(
    ("default", "chart_claim", "root"),
    [
        (builders.BUCKET, "c", "c"),
        (builders.BUCKET, "", ""),
        (Storage(volume=VolumeStorage(claim="new")), "c", "c"),
        (Storage(volume=VolumeStorage(claim="new")), "", "new"),
    ],
)
def test_a_file_of_which_no_claim_is_recorded_is_in_no_bucket(
    default: Storage, chart_claim: str, root: str
) -> None:
    """It is older than buckets, though `default` may be one by now."""
    status = {"phase": "Succeeded", "artifact": builders.ARTIFACT_STATUS}
    storages = {"default": default}
    place = recorded_place(builders.export(status=status), storages, chart_claim)
    assert place == Place("default", root)
    assert is_reachable(place, storages) is bool(root)
    if not root:
        assert without_storage(place).startswith("nobody recorded its volume")


def test_words_for_a_storage_that_is_none_any_more_name_the_server() -> None:
    told = without_storage(Place("minio", ROOT, SERVER))
    assert f"is {ROOT} at {SERVER}: put it back" in told
