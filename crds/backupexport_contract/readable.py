"""Numbers as people read them, alike in every component."""


def readable_size(size: int) -> str:
    """Bytes in the binary unit that leaves one to four digits: `164.2 MiB`."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            return f"{size} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} PiB"
