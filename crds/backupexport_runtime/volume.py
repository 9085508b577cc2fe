"""Directories and files below the exports' mount, reached without following a symbolic link.

The runner writes there and the api reads: whoever else can write to the volume must lead neither
of them elsewhere, nor make one wait for ever.
"""

import errno
import os
import stat
from pathlib import Path

_DIRECTORY_MODE = 0o750
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Opening a pipe waits for its other end otherwise.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class NotTheFileError(Exception):
    """Something else has the file's name; the text says what."""


def open_directory(mount: Path, relative: str | None, *, make: bool = False) -> int:
    """Open a directory below `mount`, segment by segment; OSError where that can't be done.

    Only the descriptor is to be used from then on, so that a link put in the way later leads
    nowhere either.  `make` makes what is missing.
    """
    current = os.open(mount, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for segment in relative.split("/") if relative else ():
            if make:
                _make(segment, current)
            below = os.open(segment, _DIRECTORY, dir_fd=current)
            os.close(current)
            current = below
    except BaseException:
        os.close(current)
        raise
    return current


def open_file(mount: Path, path: str, size: int) -> int:
    """Open the regular file at `path`, relative to `mount`, for reading.

    NotTheFileError where it is not the one file of that `size`; OSError as from os.open.
    """
    directory_path, _, name = path.rpartition("/")
    directory = open_directory(mount, directory_path)
    try:
        return open_file_in(directory, name, size)
    finally:
        os.close(directory)


def open_file_in(directory: int, name: str, size: int) -> int:
    """The same for a file in the directory of this descriptor."""
    file = os.open(name, _FILE, dir_fd=directory)
    try:
        _check(os.fstat(file), size)
    except BaseException:
        os.close(file)
        raise
    return file


def _check(found: os.stat_result, size: int) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise NotTheFileError("it is no regular file")
    if found.st_nlink == 0:
        raise FileNotFoundError(errno.ENOENT, "it has just been removed")
    # A second name may be one in another project's directory.
    if found.st_nlink != 1:
        raise NotTheFileError("it has other names, too")
    if found.st_size != size:
        raise NotTheFileError("it has another size")


def _make(name: str, parent: int) -> None:
    try:
        os.mkdir(name, _DIRECTORY_MODE, dir_fd=parent)
    except FileExistsError:
        return
    os.fsync(parent)
