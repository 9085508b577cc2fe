"""What an error of the volume's file system means, and what to do about it."""

import errno
import os

from backupexport_contract.reasons import ExitCode

from backupexport_runner.task.failure import Failure

_FULL = {
    errno.ENOSPC: "The export volume is full: free space on it or make it larger",
    errno.EDQUOT: "The export volume's quota is used up: free space on it or raise the quota",
    errno.EFBIG: "The export volume's file system can't hold a file this large: use another one",
}
_UNWRITABLE = {
    errno.EROFS: "The export volume is mounted read-only: mount it for writing",
    errno.EACCES: "The runner may not write to the export volume: give its group "
    "(the pod's fsGroup) write permission",
    errno.EPERM: "The export volume forbids the runner this: check its permissions and flags",
    errno.ELOOP: "A directory of storage_path is a symbolic link: remove it from the volume or "
    "use another storage_path",
    errno.ENOTDIR: "A directory of storage_path is taken by something else: remove it from the "
    "volume or use another storage_path",
}


def storage_failure(error: OSError) -> Failure:
    """The verdict on an error that a call on the volume ended with."""
    number = error.errno or 0
    system = os.strerror(number) if number else type(error).__name__
    if number in _FULL:
        return Failure(
            ExitCode.STORAGE_FULL, f"{_FULL[number]}, then start the export again ({system})."
        )
    advice = _UNWRITABLE.get(number, "The export volume doesn't work: check its storage")
    return Failure(
        ExitCode.STORAGE_UNWRITABLE, f"{advice}, then start the export again ({system})."
    )
