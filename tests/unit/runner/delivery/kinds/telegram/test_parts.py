"""How a file is cut into parts."""

import pytest
from backupexport_runner.delivery.kinds.telegram.parts import MOST_PARTS, part_count, plan_parts
from hypothesis import given
from hypothesis import strategies as st

NAME = "20260129T153000Z-0b7c1111-2222-4333-8444-555566667777.sql.zst"


@pytest.mark.parametrize(
    ("size", "names"),
    [
        (1, [NAME]),
        (10, [NAME]),
        (11, [f"{NAME}.part001of002", f"{NAME}.part002of002"]),
        (20, [f"{NAME}.part001of002", f"{NAME}.part002of002"]),
        (21, [f"{NAME}.part00{number}of003" for number in (1, 2, 3)]),
    ],
)
def test_a_file_is_whole_where_it_fits_and_numbered_parts_else(size: int, names: list[str]) -> None:
    assert [part.name for part in plan_parts(NAME, size, 10)] == names


@given(size=st.integers(1, 10**13), part_bytes=st.integers(1024, 4 * 10**9))
def test_parts_cover_the_file_exactly_and_sort_as_a_shell_sorts_them(
    size: int, part_bytes: int
) -> None:
    count = part_count(size, part_bytes)
    if count > MOST_PARTS:
        size = size % (part_bytes * MOST_PARTS) + 1
        count = part_count(size, part_bytes)
    parts = plan_parts(NAME, size, part_bytes)
    assert len(parts) == count <= MOST_PARTS
    end = 0
    for number, part in enumerate(parts, start=1):
        assert part.number == number
        assert part.offset == end
        assert 0 < part.size <= part_bytes
        end += part.size
    assert end == size
    names = [part.name for part in parts]
    assert names == sorted(set(names))
