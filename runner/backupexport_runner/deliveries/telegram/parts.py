"""How a file is cut into documents that a Bot API server takes."""

from dataclasses import dataclass

# Telegram lets a bot send some twenty messages a minute to a group: more are hours, and a chat
# in which nobody finds them.
MOST_PARTS = 1000
# A shell sorts `NAME.part*of003` by its text, so all numbers have one width.
_SHORTEST_NUMBER = 3


@dataclass(frozen=True, slots=True)
class Part:
    """The bytes of the file from `offset` on, `size` of them; `number` counts from one."""

    number: int
    name: str
    offset: int
    size: int


def plan_parts(file_name: str, size: int, part_bytes: int) -> tuple[Part, ...]:
    """The whole file under its own name where it fits, else numbered parts of it."""
    if size <= part_bytes:
        return (Part(1, file_name, 0, size),)
    count = part_count(size, part_bytes)
    return tuple(
        Part(
            number,
            _part_name(file_name, f"{number:0{_width(count)}}", count),
            offset,
            min(part_bytes, size - offset),
        )
        for number, offset in enumerate(range(0, size, part_bytes), start=1)
    )


def parts_glob(file_name: str, count: int) -> str:
    """What a shell finds the parts by, and none of another plan's, nor a second copy of one."""
    return _part_name(file_name, "*", count)


def _part_name(file_name: str, number: str, count: int) -> str:
    return f"{file_name}.part{number}of{count:0{_width(count)}}"


def _width(count: int) -> int:
    return max(_SHORTEST_NUMBER, len(str(count)))


def part_count(size: int, part_bytes: int) -> int:
    """How many documents it takes."""
    return max(1, -(-size // part_bytes))
