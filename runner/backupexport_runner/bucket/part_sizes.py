"""How large the parts of an upload are, all within S3's limits and a bounded memory."""

MIB = 1024 * 1024
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
MOST_PARTS = 10_000
SMALLEST_PART_BYTES = 8 * MIB
# All parts that are being filled or sent, together; none is larger.
MOST_MEMORY_BYTES = 96 * MIB
# What an encrypted and barely compressible dump has more than the dump.
_MARGIN = 1.005
# The estimate may be too low: parts double when so many have been sent, so that 850 GB fit anyway.
_PARTS_BEFORE_GROWTH = 500
# Where there is none: a terabyte fits.
_PARTS_BEFORE_GROWTH_UNESTIMATED = 20


def part_bytes(number: int, estimated_bytes: int) -> int:
    """Returns the size of the part, which counts from one, of a file that is estimated so large."""
    fitting = -(-int(estimated_bytes * _MARGIN) // MOST_PARTS)
    size = max(SMALLEST_PART_BYTES, -(-fitting // MIB) * MIB)
    steady = _PARTS_BEFORE_GROWTH if estimated_bytes else _PARTS_BEFORE_GROWTH_UNESTIMATED
    return min(MOST_MEMORY_BYTES, size << min((number - 1) // steady, 32))
