"""Parts of any file fit within S3's limits and a bounded memory."""

import itertools

import pytest
from backupexport_runner.bucket.part_sizes import (
    MIB,
    MOST_MEMORY_BYTES,
    MOST_PARTS,
    SMALLEST_PART_BYTES,
    part_bytes,
)

SIZES = (0, 1, 10**6, 10**9, 10**10, 10**11, 5 * 10**11, 10**12)


@pytest.mark.parametrize("estimated", SIZES)
def test_what_was_estimated_fits_into_all_parts(estimated: int) -> None:
    sizes = [part_bytes(number, estimated) for number in range(1, MOST_PARTS + 1)]
    assert sum(sizes) >= estimated
    assert all(SMALLEST_PART_BYTES <= size <= MOST_MEMORY_BYTES for size in sizes)
    assert all(one <= next_one for one, next_one in itertools.pairwise(sizes))


@pytest.mark.parametrize(
    ("estimated", "fitting"), [(0, 10**12), (1, 85 * 10**10), (10**11, 85 * 10**10)]
)
def test_much_fits_without_an_estimate_and_with_one_that_is_too_low(
    estimated: int, fitting: int
) -> None:
    assert sum(part_bytes(number, estimated) for number in range(1, MOST_PARTS + 1)) >= fitting


@pytest.mark.parametrize(
    ("number", "estimated", "mebibytes"),
    [
        *[(1, 0, 8), (20, 0, 8), (21, 0, 16), (41, 0, 32), (61, 0, 64), (81, 0, 96)],
        *[(1, 1, 8), (500, 1, 8), (501, 1, 16), (1001, 1, 32), (1501, 1, 64), (2001, 1, 96)],
        *[(1, 10**11, 10), (1, 10**12, 96), (10_000, 10**12, 96), (1, 10**15, 96)],
    ],
)
def test_parts_are_small_where_that_does(number: int, estimated: int, mebibytes: int) -> None:
    assert part_bytes(number, estimated) == mebibytes * MIB
