"""The exports' volume as its node has it, where that is the machine that the tests run on."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from installation import Installation
from playground.tools import get

_RUNNERS_GROUP = 65532


def volume_on_this_machine(installation: Installation) -> Path | None:
    """The volume's directory, or None where it is elsewhere or this process is not root."""
    claim = get("-n", installation.namespace, "pvc", f"{installation.release.name}-exports")
    volume = get("pv", claim["spec"]["volumeName"])
    path = volume["spec"].get("local", {}).get("path")
    if path is None or not Path(path).is_dir() or os.geteuid() != 0:
        return None
    return Path(path)


@contextmanager
def small_directory(volume: Path, project_id: str, size: str) -> Iterator[Path]:
    """A project's directory as a file system of its own that holds `size`."""
    directory = volume / project_id
    directory.mkdir()
    options = f"size={size},mode=2775,gid={_RUNNERS_GROUP}"
    _mount("-t", "tmpfs", "-o", options, "exports-test", str(directory))
    try:
        yield directory
    finally:
        # The kernel keeps it for a pod that still has it.
        subprocess.run(["umount", str(directory)], check=True)
        directory.rmdir()


def make_read_only(directory: Path) -> None:
    """Nothing can be written to a `small_directory` from now on."""
    _mount("-o", "remount,bind,ro", str(directory))


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)
