"""What has to stay free on the volume."""

import os
from pathlib import Path

from backupexport_contract.readable import readable_size
from backupexport_contract.reasons import ExitCode

from backupexport_runner.task.failure import Failure
from backupexport_runner.volume.failures import volume_errors


def lack_of_room(reserve: str, mount: Path) -> Failure | None:
    """Returns why no export may begin on this volume now; None if it may.  Raises Failure.

    `reserve` is as rules.RESERVE has it, empty for none.  A file system that doesn't tell its size
    (statvfs) has no reserve.
    """
    with volume_errors():
        found = os.statvfs(mount)
    size, free = found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
    number = int(reserve.removesuffix("%") or 0)
    least = size * number // 100 if reserve.endswith("%") else number
    if not size or free >= least:
        return None
    return Failure(
        ExitCode.STORAGE_RESERVED,
        f"The export volume has {readable_size(free)} free, and {readable_size(least)} are "
        "reserved (storage.reserve): remove old exports or make the volume larger.",
    )
