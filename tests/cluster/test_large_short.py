"""A database that is large in every way, in small; `make test-large` has it in its full size."""

from collections.abc import Iterator

import pytest
from failing_exports import Attempted
from installation import Installation
from large_database import FORMATS, LargeDatabase, Size, assert_goes_back

pytestmark = pytest.mark.cluster

_SIZE = Size(tables=300, mebibytes=40, large_objects=200)


@pytest.fixture(scope="module")
def database(installation: Installation) -> Iterator[LargeDatabase]:
    found = LargeDatabase(installation.server, installation.volume, _SIZE)
    found.make()
    yield found
    found.drop()


@pytest.fixture(scope="module")
def begun(installation: Installation, database: LargeDatabase) -> dict[str, Attempted]:
    """One in each format, all at once."""
    return {each: database.begin(installation.namespace, each) for each in FORMATS}


@pytest.mark.parametrize("dump_format", FORMATS)
def test_it_goes_back(
    database: LargeDatabase, begun: dict[str, Attempted], dump_format: str
) -> None:
    found = assert_goes_back(database, begun[dump_format])
    # A server's defaults have enough locks for it.
    assert "locks" not in found.remarks
