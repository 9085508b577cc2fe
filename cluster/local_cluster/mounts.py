"""Letting go of mounts before the folder they are in is removed."""

from pathlib import Path

from .errors import ClusterError
from .progress import quiet


def _under(folder: Path) -> list[str]:
    points = [
        # The kernel writes a space in a path as \040.
        line.split()[4].encode().decode("unicode_escape")
        for line in Path("/proc/self/mountinfo").read_text().splitlines()
    ]
    return sorted((point for point in points if point.startswith(f"{folder}/")), reverse=True)


def release(folder: Path) -> None:
    """Unmount all there is below a folder, or refuse to go on."""
    for _ in range(3):
        points = _under(folder)
        if not points:
            return
        quiet(["umount", "--lazy", *points])
    # Removing the folder now could reach through a mount into somebody's own files.
    if left := _under(folder):
        raise ClusterError(f"Still mounted, nothing was removed: {', '.join(left[:5])}")
