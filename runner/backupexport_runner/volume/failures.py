"""What an error of the volume's file system means, and what to do about it."""

import contextlib
import errno
import os
from collections.abc import Callable, Iterator

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
    errno.ENOENT: "The project's directory on the export volume was removed, or isn't mounted: "
    "leave it there",
    errno.EISDIR: "A directory has the name of the export's file: remove it from the volume",
    errno.EPERM: "The export volume forbids the runner this: check its permissions and flags",
    errno.ELOOP: "A directory of storage_path is a symbolic link: remove it from the volume or "
    "use another storage_path",
    errno.ENOTDIR: "A directory of storage_path is taken by something else: remove it from the "
    "volume or use another storage_path",
}
# Of storage over a network, mostly: its server restarts, the way to it is cut for a while, or its
# client or device has gone and comes back with the next pod's mount.
_FALTERING = (
    errno.EIO,
    errno.EAGAIN,
    errno.EBUSY,
    errno.ENOMEM,
    errno.ENXIO,
    errno.ENODEV,
    errno.ENOLCK,
    errno.ECOMM,
    errno.ENOLINK,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.ECONNABORTED,
    errno.ECONNRESET,
    errno.ENOTCONN,
    errno.ESHUTDOWN,
    errno.ETIMEDOUT,
    errno.ECONNREFUSED,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.ESTALE,
    errno.EREMOTEIO,
)
_AWAY = (
    "The export volume's storage fails for a while, and is tried again by itself: if that doesn't "
    "help, check its server and the network to it"
)
_OTHER = "The export volume doesn't work: check its storage"


def storage_failure(error: OSError) -> Failure:
    """Returns the export's failure for an error of a call on the volume."""
    number = error.errno or 0
    if number in _FALTERING:
        exit_code, advice = ExitCode.STORAGE_FALTERING, _AWAY
    else:
        exit_code = ExitCode.STORAGE_FULL if number in _FULL else ExitCode.STORAGE_UNWRITABLE
        advice = (_FULL | _UNWRITABLE).get(number, _OTHER)
    return Failure(exit_code, f"{advice}, then start the export again ({system_words(error)}).")


def system_words(error: OSError) -> str:
    """Returns the system's words for the error, for example "No space left on device"."""
    return os.strerror(error.errno) if error.errno else type(error).__name__


@contextlib.contextmanager
def volume_errors(failure: Callable[[OSError], Failure] = storage_failure) -> Iterator[None]:
    """Raises `failure` of every OSError within the context, or within the decorated function."""
    try:
        yield
    except OSError as error:
        raise failure(error) from error
