"""Numbers, and what an export has, as people read them, alike in every component."""

from backupexport_contract.runner_protocol import PATTERN_LISTS, Selection

_CONTENT = {"schema": "definitions only", "data": "rows only"}
_LISTS = {
    "include_schemas": "only schemas",
    "exclude_schemas": "not schemas",
    "include_tables": "only tables",
    "exclude_tables": "not tables",
    "exclude_table_data": "not the rows of",
}


def readable_size(size: int) -> str:
    """Bytes in the binary unit that leaves one to four digits: `164.2 MiB`."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        # What is more would be rounded to 1024.0.
        if value < 1023.95:
            return f"{size} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} PiB"


def readable_duration(seconds: float) -> str:
    """A time in the one or two units that matter: `42 s`, `1 min 15 s`, `2 h 5 min`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        parts = (whole // 60, "min"), (whole % 60, "s")
    else:
        parts = (whole // 3600, "h"), (whole // 60 % 60, "min")
    return " ".join(f"{number} {unit}" for number, unit in parts if number)


def readable_selection(selection: Selection) -> str:
    """What of the database was asked for: `Rows only; not tables a, b`; empty for all of it."""
    parts = [_CONTENT.get(selection.content, "")]
    for name in PATTERN_LISTS:
        patterns = getattr(selection, name)
        parts.append(f"{_LISTS[name]} {', '.join(patterns)}" if patterns else "")
    parts.append("" if selection.owner else "no owners")
    parts.append("" if selection.privileges else "no grants")
    text = "; ".join(filter(None, parts))
    return text[:1].upper() + text[1:]
