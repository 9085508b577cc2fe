"""What a failure of this machine's file system means to a person."""

import errno
from pathlib import Path

from backupexport_cli.errors import CliError, ExitCode

_ADVICE = {
    errno.ENOSPC: ("the disk is full", "Free some space, then run the same command: it goes on."),
    errno.EDQUOT: (
        "your quota is used up",
        "Free some space, then run the same command: it goes on.",
    ),
    errno.EFBIG: (
        "the file system takes no file of that size",
        "Choose a directory on another file system.",
    ),
    errno.EACCES: ("you may not", "Choose a directory in which you may write."),
    errno.EPERM: ("you may not", "Choose a directory in which you may write."),
    errno.EROFS: ("the file system is read-only", "Choose another directory."),
    errno.ENOENT: ("the directory is not there any more", "Choose a directory that stays."),
    errno.ELOOP: ("a symbolic link is in its place", "Remove it, or choose another directory."),
    errno.ENAMETOOLONG: ("the name is too long", "Choose a shorter name."),
}


def local_failure(error: OSError, path: Path, doing: str = "written") -> CliError:
    """Return the error for a file that can't be read or written (`doing`)."""
    why, advice = _ADVICE.get(
        error.errno or 0, ((error.strerror or "of an unknown reason").lower(), "Try another place.")
    )
    return CliError(ExitCode.FAILED, f"{path} can't be {doing}: {why}.", advice)
