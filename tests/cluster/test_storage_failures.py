"""A volume that is full, read-only or not the runner's to write to."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from failing_exports import Attempted, assert_failed_at_once, begin, small_connection
from installation import Installation
from node_volume import make_read_only, small_directory, volume_on_this_machine

pytestmark = pytest.mark.cluster

# Some megabytes of a kind that doesn't compress, so that 1 MiB is full in the middle of them.
_NOISE = """
CREATE TABLE noise AS
SELECT i AS id, string_agg(sha512((i || ':' || j)::bytea)::text, '') AS text
  FROM generate_series(1, 1000) AS i, generate_series(1, 64) AS j GROUP BY i;
"""


@pytest.fixture(scope="module")
def volume(installation: Installation) -> Path:
    found = volume_on_this_machine(installation)
    if found is None:
        pytest.skip("the volume's node is another machine, or this is not root: can't fill it")
    return found


@pytest.fixture(scope="module")
def attempted(installation: Installation, volume: Path) -> Iterator[dict[str, Attempted]]:
    """Exports to directories that each have another fault, all begun at once."""
    namespace = installation.namespace
    installation.server.psql("CREATE DATABASE noise")
    installation.server.psql(_NOISE, "noise")
    connection = {**small_connection(installation), "database": "noise"}
    with contextlib.ExitStack() as stack:

        def small(project_id: str, size: str = "1m") -> Path:
            return stack.enter_context(small_directory(volume, project_id, size))

        for dump_format in ("sql", "tar"):
            small(f"full-{dump_format}")
        make_read_only(small("read-only", "16m"))
        small("not-ours", "16m").chmod(0o755)
        exports = {
            "full-sql": begin(namespace, "full-sql", connection, format="sql"),
            "full-tar": begin(namespace, "full-tar", connection, format="tar"),
            "read-only": begin(namespace, "read-only", connection),
            "not-ours": begin(namespace, "not-ours", connection),
        }
        yield exports
        for export in exports.values():
            export.ended()


@pytest.mark.parametrize("name", ["full-sql", "full-tar"])
def test_a_full_volume_fails_at_once_and_keeps_nothing(
    volume: Path, attempted: dict[str, Attempted], name: str
) -> None:
    assert_failed_at_once(attempted[name], "StorageFull", "volume", "[Mm]ake room|free space")
    assert [path for path in (volume / name).rglob("*") if not path.is_dir()] == []


def test_a_read_only_volume_fails_at_once(attempted: dict[str, Attempted]) -> None:
    assert_failed_at_once(
        attempted["read-only"], "StorageUnwritable", "read-only: mount it for writing"
    )


def test_a_directory_that_the_runner_may_not_write_to_fails_at_once(
    attempted: dict[str, Attempted],
) -> None:
    assert_failed_at_once(attempted["not-ours"], "StorageUnwritable", r"fsGroup.*permission")
