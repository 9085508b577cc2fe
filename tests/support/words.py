"""Numbers and choices in words, for the two who write them: Python and the web page."""

from typing import Any

# Bytes.
SIZES = {
    0: "0 B",
    1: "1 B",
    1023: "1023 B",
    1024: "1.0 KiB",
    # In the middle between two decimals: the even one.
    1280: "1.2 KiB",
    1792: "1.8 KiB",
    1048524: "1023.9 KiB",
    1048525: "1.0 MiB",
    1048575: "1.0 MiB",
    1048576: "1.0 MiB",
    172177818: "164.2 MiB",
    1073741823: "1.0 GiB",
    1099511627775: "1.0 TiB",
    2**50 - 1: "1.0 PiB",
    2**60: "1024.0 PiB",
}

# Seconds.
DURATIONS = {
    -1: "0 s",
    0: "0 s",
    59.4: "59 s",
    59.6: "1 min",
    75: "1 min 15 s",
    3599.4: "59 min 59 s",
    7260: "2 h 1 min",
    90000: "25 h",
}

# What of the database an export has.
CONTENTS: list[tuple[dict[str, Any], str]] = [
    ({}, ""),
    ({"content": "all", "owner": True, "privileges": True}, ""),
    ({"content": "schema"}, "Definitions only"),
    (
        {"content": "data", "include_schemas": ("a", "b"), "exclude_table_data": ("c",),
         "privileges": False},
        "Rows only; only schemas a, b; not the rows of c; no grants",
    ),
    (
        {"exclude_schemas": ("äb*",), "include_tables": ('"A".x',), "exclude_tables": ("y", "z"),
         "owner": False},
        'Not schemas äb*; only tables "A".x; not tables y, z; no owners',
    ),
]  # fmt: skip
