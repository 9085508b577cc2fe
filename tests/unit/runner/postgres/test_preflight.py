"""What the preflight makes of the server's answers."""

import pytest
from backupexport_runner.postgres.preflight import Server, estimated_dump_bytes


@pytest.mark.parametrize(("number", "major"), [(170006, 17), (90624, 9), (150018, 15)])
def test_the_major_version(number: int, major: int) -> None:
    assert Server(number, "", 0).major == major


def test_the_estimate() -> None:
    assert estimated_dump_bytes() == 0
    assert estimated_dump_bytes(1, 0, 0) == 64 * 1024
    assert estimated_dump_bytes(10**9, 10**8, 10**8) == int(0.85e9 + 0.4e9)
