"""Directories and files below the exports' mount, reached without following a symbolic link.

The runner writes there and the api reads.  Whoever else can write to the volume must not lead
either of them elsewhere, nor make one wait for ever.
"""

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

_DIRECTORY_MODE = 0o750
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Opening a pipe waits for its other end otherwise.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_MODE = 0o640

# How opening a directory fails if there is nothing of the name, or a link or a file.  Anything else
# says that the volume couldn't tell: who takes it for "nothing there" forgets a file.
_NO_DIRECTORY = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
# The same of a file: a socket, a device without a driver or a directory may have its name, too.
_NO_FILE = (*_NO_DIRECTORY, errno.EISDIR, errno.ENXIO, errno.ENODEV, errno.ENAMETOOLONG)


class NotTheFileError(Exception):
    """Something else has the file's name; the text says what."""


def is_missing(error: OSError) -> bool:
    """Whether opening a file failed because there is none of the name."""
    return error.errno in _NO_FILE


def is_directory_missing(error: OSError) -> bool:
    """Whether opening a directory failed because there is none of the name."""
    return error.errno in _NO_DIRECTORY


def open_directory(mount: Path, relative: str | None, *, make: bool = False) -> int:
    """Returns a descriptor of a directory below `mount`, opened segment by segment.

    Use only the descriptor from then on, so that a link put in the way later leads nowhere either.
    `make` makes the segments that are missing.  Raises OSError.
    """
    current = os.open(mount, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for segment in relative.split("/") if relative else ():
            if make:
                with suppress(FileExistsError):
                    os.mkdir(segment, _DIRECTORY_MODE, dir_fd=current)
                    os.fsync(current)
            below = os.open(segment, _DIRECTORY, dir_fd=current)
            os.close(current)
            current = below
    except BaseException:
        os.close(current)
        raise
    return current


def open_file(mount: Path, path: str, size: int) -> int:
    """Returns a descriptor, for reading, of the file at `path`, relative to `mount`.

    Raises NotTheFileError if it is no regular file with this one name and `size` bytes; OSError.
    """
    directory_path, _, name = path.rpartition("/")
    directory = open_directory(mount, directory_path)
    try:
        return open_file_in(directory, name, size)
    finally:
        os.close(directory)


def open_file_in(directory: int, name: str, size: int | None) -> int:
    """The same for a file in the directory of this descriptor; any regular file if size is None."""
    file = os.open(name, _FILE, dir_fd=directory)
    try:
        _check(os.fstat(file), size)
    except BaseException:
        os.close(file)
        raise
    return file


def read_file(directory: int, name: str, most_bytes: int) -> bytes | None:
    """Returns the first `most_bytes` of a regular file; None if there is none.  Raises OSError."""
    try:
        file = open_file_in(directory, name, None)
    except NotTheFileError:
        return None
    except OSError as error:
        if is_missing(error):
            return None
        raise
    with os.fdopen(file, "rb") as stream:
        return stream.read(most_bytes)


def create_file(directory: int, name: str) -> int:
    """Returns a descriptor, for writing, of a new file.  Raises FileExistsError, OSError."""
    return os.open(name, _NEW_FILE, _FILE_MODE, dir_fd=directory)


def look_up(directory: int, name: str) -> os.stat_result | None:
    """Returns the status of what has the name, a link's own; None if nothing.  Raises OSError."""
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _check(found: os.stat_result, size: int | None) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise NotTheFileError("it is no regular file")
    if size is None:
        return
    if found.st_nlink == 0:
        raise FileNotFoundError(errno.ENOENT, "it has just been removed")
    # A second name may be one in another project's directory.
    if found.st_nlink != 1:
        raise NotTheFileError("it has other names, too")
    if found.st_size != size:
        raise NotTheFileError("it has another size")
