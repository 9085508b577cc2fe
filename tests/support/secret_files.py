"""A Secret's keys as files, as the kubelet mounts them.

Tests write them beside environment values: `secret:host` is the key host, `secret:chosen/host` the
key that spec.keys.host names.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path

from backupexport_runner.task.secret import Secret, read_secret

_PREFIX = "secret:"


def mount(values: Mapping[str, str], directory: Path) -> dict[str, str]:
    """Write the files of `values` into `directory`, in place of what is there; the environment."""
    shutil.rmtree(directory, ignore_errors=True)
    # As the kubelet does it: `..data` leads to the files, and each key is a link.
    data = directory / "..2026"
    data.mkdir(parents=True)
    (directory / "..data").symlink_to(data.name)
    for name, value in values.items():
        if name.startswith(_PREFIX):
            file = data / name.removeprefix(_PREFIX)
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(value.encode(errors="surrogateescape"))
    for entry in data.iterdir():
        (directory / entry.name).symlink_to(Path("..data") / entry.name)
    return {name: value for name, value in values.items() if not name.startswith(_PREFIX)}


def secret_of(values: Mapping[str, str], directory: Path) -> Secret:
    """What the runner reads of them."""
    mount(values, directory)
    return read_secret(directory, "The target's Secret")
